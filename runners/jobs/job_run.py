"""A job's life: run, said, one final event, settled."""

import asyncio
import math
import time
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from msgspec import Raw, Struct, json, structs

from runners.batching.call import Call, Death, Wish
from runners.broker.event_publisher import QueueFull, Report, Reporter, Value, carried
from runners.broker.job_queue import Delivery
from runners.errors import BadInput, FileStoreError, StartOver
from runners.jobs.cancellation import Cancels
from runners.jobs.inputs import Given, Inputs
from runners.jobs.json_strings import without_nul
from runners.worker.frames import Chunk, Done, Item
from schemas.events import Canceled, Crashed, Failed, Run, Started, Succeeded
from schemas.events import Final as FinalEvent
from schemas.jobs import Job
from schemas.subjects import INLINE

log = structlog.stdlib.get_logger()

FRESH: Final = 1.0  # seconds for which a job is new: nobody can have ended it yet
CRASHES: Final = 3
LONGEST_ERROR: Final = 8_000  # characters
LONGEST_METRICS: Final = 8_000  # bytes
ELSEWHERE: Final = Raw(b"null")  # in the place of a value that is kept in the file store


class Store(Protocol):
    """What a life needs of the file store."""

    async def fetch(self, key: str) -> bytes: ...
    async def keep(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]: ...
    async def spill(self, id: str, value: bytes) -> str: ...


class Runs(Protocol):
    """What a life needs of whatever its job is run by."""

    def put(self, call: Call) -> None: ...
    def stop(self, call: Call, wish: Wish) -> None: ...
    def leave(self, call: Call) -> None: ...
    def relieve(self) -> None: ...
    def renew(self) -> bool:
        """Have another worker, as this one gives no memory any more. False: it is as good as a new one."""
        ...


class Agent(Struct, frozen=True, kw_only=True):
    """What all lives share."""

    name: str
    reporter: Reporter
    cancels: Cancels
    files: Store
    inputs: Inputs
    run_limit: float
    max_output: int
    """Bytes of what a run may say, its log aside."""
    kept: float = math.inf
    """Seconds for which all that a run said is there for certain."""


class Life:
    """One job in hand, from its delivery to its final event."""

    def __init__(self, agent: Agent, runs: Runs, delivery: Delivery, job: Job, *, kind: str = "predict") -> None:
        self._agent = agent
        self._runs = runs
        self._kind = kind
        self._delivery = delivery
        self._job = job
        self._call: Call | None = None
        self._wish: Wish | None = None
        self._drawn = 0
        self._alone = False
        self._renewed = False
        """It had its second worker for want of memory in the first."""
        self._left = False
        """The next attempt has been published: it is a life of its own."""

    def adopt(self, delivery: Delivery, job: Job) -> bool:
        """The same job came again; what is said of one delivery holds for both. False: it is the next attempt's.

        The attempt counts on from there, as JetStream swallows one that is published twice.
        """
        if self._left and job.attempt >= self._job.attempt:
            return False
        self._delivery.adopt(delivery)
        self._job = structs.replace(self._job, attempt=max(self._job.attempt, job.attempt))
        return True

    def stop(self, wish: Wish) -> None:
        self._wish = self._wish or wish
        if self._call is not None:
            self._runs.stop(self._call, wish)

    async def live(self) -> None:
        """Until its final event is stored, or its next attempt waits in the queue; then it is settled."""
        with self._agent.cancels.watch(self._job.id, self.stop):
            if not await self._over():
                final = await self._final()
                if final is not None:
                    await self._agent.reporter.end(final)
        await self._delivery.settle()

    async def fail(self, reason: str, text: str) -> None:
        """End it without a run, as its version cannot be set up."""
        if not await self._over():
            final = Failed(
                id=self._job.id, run=self._draw(), at=now(), error=reason, log=text, metrics=self._measured()
            )
            await self._agent.reporter.end(final)
        await self._delivery.settle()

    async def _over(self) -> bool:
        """A repeated or an old job may have its final event already."""
        age = self._delivery.pulled_at - self._job.created_at.timestamp()
        repeated = self._delivery.redelivered or self._job.attempt > 1
        return (repeated or age > FRESH) and await self._agent.reporter.ended(self._job.id)

    async def _final(self) -> FinalEvent | None:
        """None: the job has been published again."""
        if self._job.deadline is not None and self._job.deadline <= now():
            return self._canceled("deadline reached before start")
        if self._job.kind != self._kind:
            return self._refused(f"this runner cannot {self._job.kind} here")
        try:
            async with self._agent.inputs.given(self._job.id, await self._input()) as given:
                return await self._answered(given)
        except (BadInput, FileStoreError) as error:
            return self._refused(str(error))

    async def _answered(self, given: Given) -> FinalEvent | None:
        """Run after run, until one has an end that counts."""
        while True:
            if self._wish is not None:
                return self._canceled(self._wish.reason)
            report = Report(self._agent.reporter, self._job.id, self._draw())
            call = Call(Item(self._job.id, given.text, given.files), alone=self._alone or self._job.crashes > 0)
            try:
                end = await self._run(call, report)
                if isinstance(end, Done):
                    if not self._counts_not(end, call):
                        return await self._ending(call, end, report)
                elif end.ours:
                    log.info("runs again, as another job's worker was killed", id=self._job.id)
                elif await self._crashed(end, report):
                    return self._canceled(self._wish.reason) if self._wish is not None else None
                elif self._job.crashes >= CRASHES:
                    return await self._failed(report, call, f"the worker died {CRASHES} times: {self._job.reason}")
            except StartOver:
                await self._outlast(call)
                if self._wish is not None:
                    continue
                if await self._again("it said more than could be kept, and the broker lost it", report, crashes=0):
                    return self._canceled(self._wish.reason) if self._wish is not None else None

    def _counts_not(self, end: Done, call: Call) -> bool:
        """It says nothing of the job, which runs again."""
        if call.wish is not None and call.wish.failed:
            return False
        if end.status == "again":
            log.info("runs again, as its batch failed after it had said something", id=self._job.id)
            self._alone = True
            return True
        if not end.short or self._renewed or not self._runs.renew():
            return False
        log.info("runs again, as its worker had grown and it got no memory there", id=self._job.id)
        self._renewed = True
        return True

    def _canceled(self, reason: str | None) -> Canceled:
        """Before a run, or between two."""
        return Canceled(id=self._job.id, run=None, at=now(), error=reason, metrics=self._measured())

    def _refused(self, error: str) -> Failed:
        return Failed(id=self._job.id, run=None, at=now(), error=error, metrics=self._measured())

    def _measured(self, call: Call | None = None, done: Done | None = None) -> dict[str, Any]:
        """What the model measured and what we did; of two numbers with one name ours counts."""
        said = dict(done.metrics) if done is not None else {}
        if self._kind == "build":
            return said
        pulled = self._delivery.pulled_at
        ours: dict[str, Any] = {"queue_time": _seconds(pulled - self._job.created_at.timestamp())}
        if call is not None and call.began is not None:
            ended = done.at if done is not None else time.time()
            ours["wait_time"] = _seconds(call.began - pulled)
            ours["predict_time"] = said.pop("predict_time", _seconds(ended - call.began))
            together = said.pop("batch_size", call.together)
            if self._kind == "predict":
                ours["batch_size"] = together
        return {**_bounded(said), **ours}

    async def _outlast(self, call: Call) -> None:
        """Wait until the worker has stopped it: a second run of the same id beside it would be taken for the first."""
        while call.end is None:
            await call.news()
            self._runs.relieve()

    async def _run(self, call: Call, report: Report) -> Done | Death:
        """Say what a worker says of this call until it ends."""
        limit: asyncio.TimerHandle | None = None
        self._call = call
        self._runs.put(call)
        try:
            while call.end is None:
                await call.news()
                if call.end is None and call.lasting and limit is None:
                    report.started = Started(id=call.id, run=report.run, at=_time(call.began))
                    limit = self._limit(call)
                if call.end is None:
                    await self._pass_on(call, report)
                    if report.trouble is not None:
                        self._runs.stop(call, Wish(report.trouble, failed=True))
                    await report.say(logs=True)
                    self._runs.relieve()
            return call.end
        finally:
            self._call = None
            if limit is not None:
                limit.cancel()
            self._runs.relieve()
            if call.end is None:
                self._runs.leave(call)

    async def _pass_on(self, call: Call, report: Report) -> None:
        """From the call to the report, in order, up to the first chunk that cannot be said."""
        if call.log_due or call.end is not None:
            report.text(call.take_text())
        try:
            for chunk in call.take_chunks():
                if report.trouble is None:
                    report.value(await self._value(chunk, report))
        except (FileStoreError, TooLarge) as error:
            report.trouble = str(error)

    async def _value(self, said: Chunk | Done, report: Report) -> Value:
        assert said.value is not None
        report.size += len(said.value)
        if report.size > self._agent.max_output:
            raise TooLarge(report.size, self._agent.max_output)
        value, files = Raw(without_nul(said.value)), said.files
        if files:
            value, files = await self._agent.files.keep(self._job.id, bytes(value), files)
        if len(text := bytes(value)) <= INLINE:
            return Value(value, files)
        return Value(ELSEWHERE, files, await self._agent.files.spill(self._job.id, text))

    def _limit(self, call: Call) -> asyncio.TimerHandle:
        limit = self._agent.run_limit
        wish = Wish(f"the run limit of {limit:g} s was reached", failed=True)
        return asyncio.get_running_loop().call_later(
            limit - (time.time() - (call.began or time.time())), self._runs.stop, call, wish
        )

    async def _ending(self, call: Call, done: Done, report: Report) -> FinalEvent:
        await self._pass_on(call, report)
        trouble = report.trouble
        if trouble is None and call.wish is not None and call.wish.failed:
            trouble = call.wish.reason
        if trouble is not None:
            return await self._failed(report, call, trouble, done)
        try:
            whole = [] if done.value is None else [await self._value(done, report)]
        except (FileStoreError, TooLarge) as error:
            return await self._failed(report, call, str(error), done)
        self._freshen(call, report)
        values, text = await report.rest(beside=sum(value.size for value in whole))
        said: dict[str, Any] = {
            "id": call.id,
            "run": report.run,
            "at": _time(done.at),
            "created_at": self._job.created_at,
            "started_at": _time(call.began) if call.began is not None else None,
            "pulled_at": _time(self._delivery.pulled_at),
            "batched_at": _time(call.sent) if call.sent is not None else None,
            "outputs": report.outputs,
            **carried(values + whole),
            "many": done.many or report.outputs > 0 or bool(values),
            "logs": report.logs,
            "log": text,
            "metrics": self._measured(call, done),
        }
        match done.status:
            case "ok":
                return Succeeded(**said)
            case "stopped":
                return Canceled(**said, error=call.wish.reason if call.wish is not None else None)
            case _:
                return Failed(**said, error=(done.error or "the model gave no reason")[:LONGEST_ERROR])

    async def _failed(self, report: Report, call: Call, error: str, done: Done | None = None) -> Failed:
        self._freshen(call, report)
        values, text = await report.rest()
        return Failed(
            id=call.id,
            run=report.run,
            at=now(),
            created_at=self._job.created_at,
            started_at=_time(call.began) if call.began is not None else None,
            pulled_at=_time(self._delivery.pulled_at),
            batched_at=_time(call.sent) if call.sent is not None else None,
            outputs=report.outputs,
            **carried(values),
            many=report.outputs > 0 or bool(values),
            logs=report.logs,
            log=text,
            error=error,
            metrics=self._measured(call, done),
        )

    def _freshen(self, call: Call, report: Report) -> None:
        """A final event counts only with all that it speaks of, and a long run outlives what it said first."""
        if call.began is not None and time.time() - call.began > self._agent.kept:
            report.again(self._draw())

    async def _crashed(self, death: Death, report: Report) -> bool:
        """Count it. True: the job waits in the queue for its next attempt."""
        log.warning("a worker died of this job", id=self._job.id, crashes=self._job.crashes + 1, reason=death.reason)
        if self._job.crashes + 1 >= CRASHES:
            self._job = structs.replace(self._job, crashes=self._job.crashes + 1, reason=death.reason)
            return False
        return await self._again(death.reason, report, crashes=1)

    async def _again(self, reason: str, report: Report, *, crashes: int) -> bool:
        """Publish the next attempt. False: there is no room in the queue, so it is made here."""
        job = self._job
        self._job = structs.replace(job, attempt=job.attempt + 1, crashes=job.crashes + crashes, reason=reason)
        self._left = True
        try:
            sequence = await self._agent.reporter.submit(self._job, self._delivery.subject)
        except QueueFull:
            self._left = False
            return False
        await self._agent.reporter.say(
            Crashed(id=job.id, run=report.run, at=now(), reason=reason, attempt=self._job.attempt, job=sequence)
        )
        return True

    async def _input(self) -> bytes:
        if self._kind == "build":
            return self._job.version.encode()
        if self._job.input_key is not None:
            return await self._agent.files.fetch(self._job.input_key)
        return bytes(self._job.input)

    def _draw(self) -> Run:
        """A new start: later than any earlier one of this job here."""
        self._drawn = max(int(time.time() * 1000), self._drawn + 1)
        return Run(self._job.attempt, self._drawn, self._agent.name)


class TooLarge(Exception):
    """More output than a prediction may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"an output of {size} bytes is too large: {limit} are the limit (SAMOVAR_MAX_OUTPUT); return a file instead"
        )


def _bounded(metrics: dict[str, Any]) -> dict[str, Any]:
    """A model's own: they travel in the final event, beside the output."""
    return metrics if len(json.encode(metrics)) <= LONGEST_METRICS else {}


def _seconds(seconds: float) -> float:
    """Never less than nothing, whatever two hosts' clocks say."""
    return round(max(seconds, 0.0), 6)


def now() -> datetime:
    return datetime.now(UTC)


def _time(at: float | None) -> datetime:
    return datetime.fromtimestamp(at, UTC) if at is not None else now()
