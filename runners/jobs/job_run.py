"""A job from its delivery to its final event and its acknowledgement."""

import asyncio
import math
import time
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from msgspec import Raw, Struct, structs

from runners.batching.call import Call, StopRequest, WorkerDeath
from runners.broker.event_publisher import EventPublisher, QueueFull, RunEvents, Value, value_fields
from runners.broker.job_queue import Delivery
from runners.errors import BadInput, EventsLost, FileStoreError
from runners.jobs import metrics
from runners.jobs.cancellation import Cancellations
from runners.jobs.inputs import InputOpener, OpenedInput
from runners.jobs.json_strings import replace_nul
from runners.worker.frames import Chunk, Done, Item
from schemas.events import Canceled, Crashed, Failed, Run, Started, Succeeded
from schemas.events import Final as FinalEvent
from schemas.jobs import Job
from schemas.subjects import MAX_INLINE_BYTES

log = structlog.stdlib.get_logger()

NEW_JOB_SECONDS: Final = 1.0  # in which nobody else can have ended a job
MAX_CRASHES: Final = 3
MAX_ERROR_CHARACTERS: Final = 8_000
STORED_ELSEWHERE: Final = Raw(b"null")  # in the place of a value that is in the file store


class OutputStore(Protocol):
    """The part of the file store that runs use."""

    async def fetch(self, key: str) -> bytes: ...
    async def upload_files(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]: ...
    async def upload_value(self, id: str, value: bytes) -> str: ...


class CallRunner(Protocol):
    """Runs calls: the batcher of an instance, a builder or a trainer."""

    def put(self, call: Call) -> None: ...
    def stop(self, call: Call, request: StopRequest) -> None: ...
    def abandon(self, call: Call) -> None: ...
    def resume(self) -> None: ...
    def replace_worker(self) -> bool:
        """Ask for another worker, as this one has no memory left. Returns False if a new one would have no more."""
        ...


class JobContext(Struct, frozen=True, kw_only=True):
    """The parts of an agent that all of its job runs share."""

    agent: str
    events: EventPublisher
    cancellations: Cancellations
    files: OutputStore
    inputs: InputOpener
    run_limit: float
    """Seconds that a run may take."""
    max_output: int
    """Bytes of output that a run may have, without its log."""
    event_retention: float = math.inf
    """Seconds for which the stream keeps all events of a run for certain."""


class JobRun:
    """A job in hand, from its delivery to its final event.

    It owns the attempts to run the job. `JobsInHand` creates one for each job, and `stop` cancels it from outside.
    """

    def __init__(
        self, context: JobContext, runner: CallRunner, delivery: Delivery, job: Job, *, kind: str = "predict"
    ) -> None:
        self._context = context
        self._runner = runner
        self._kind = kind
        self._delivery = delivery
        self._job = job
        self._call: Call | None = None
        self._stop_request: StopRequest | None = None
        self._last_run_at = 0
        self._runs_alone = False
        self._has_new_worker = False
        """Whether it got another worker already, for want of memory in the first."""
        self._is_republished = False
        """Whether the next attempt waits in the queue, for another `JobRun`."""

    def merge(self, delivery: Delivery, job: Job) -> bool:
        """Take over another delivery of the same job. Returns False if it is the next attempt, which runs by itself.

        The attempt counts on from there, as JetStream drops one that is published twice.
        """
        if self._is_republished and job.attempt >= self._job.attempt:
            return False
        self._delivery.merge(delivery)
        self._job = structs.replace(self._job, attempt=max(self._job.attempt, job.attempt))
        return True

    def stop(self, request: StopRequest) -> None:
        """Stop the job, whether it runs or not."""
        self._stop_request = self._stop_request or request
        if self._call is not None:
            self._runner.stop(self._call, request)

    async def run(self) -> None:
        """Run the job to its final event, or until its next attempt waits in the queue; then acknowledge it."""
        with self._context.cancellations.watch(self._job.id, self.stop):
            if not await self._has_final():
                final = await self._run_to_final()
                if final is not None:
                    await self._context.events.publish_final(final)
        await self._delivery.acknowledge()

    async def fail(self, reason: str, text: str) -> None:
        """Fail the job without a run, as its version cannot be set up."""
        if not await self._has_final():
            final = Failed(
                id=self._job.id, run=self._new_run(), at=now(), error=reason, log=text, metrics=self._metrics()
            )
            await self._context.events.publish_final(final)
        await self._delivery.acknowledge()

    async def _has_final(self) -> bool:
        """Return whether the job has its final event already, which a repeated or an old one may have."""
        age = self._delivery.pulled_at - self._job.created_at.timestamp()
        is_repeated = self._delivery.is_redelivered or self._job.attempt > 1
        return (is_repeated or age > NEW_JOB_SECONDS) and await self._context.events.has_final(self._job.id)

    async def _run_to_final(self) -> FinalEvent | None:
        """Run the job and return its final event; None if its next attempt waits in the queue."""
        if self._job.deadline is not None and self._job.deadline <= now():
            return self._canceled("deadline reached before start")
        if self._job.kind != self._kind:
            return self._rejected(f"this runner cannot {self._job.kind} here")
        try:
            async with self._context.inputs.open(self._job.id, await self._read_input()) as input:
                return await self._run_attempts(input)
        except (BadInput, FileStoreError) as error:
            return self._rejected(str(error))

    async def _run_attempts(self, input: OpenedInput) -> FinalEvent | None:
        """Repeat the run until it has an outcome that counts, or until its next attempt waits in the queue."""
        while self._stop_request is None and not self._is_republished:
            events = RunEvents(self._context.events, self._job.id, self._new_run())
            runs_alone = self._runs_alone or self._job.crashes > 0
            call = Call(Item(self._job.id, input.text, input.files), runs_alone=runs_alone)
            try:
                final = await self._run_attempt(call, events)
            except EventsLost:
                await self._wait_until_stopped(call)
                if self._stop_request is None:
                    reason = "the broker lost events of this run, which has published too much to publish it again"
                    await self._publish_next_attempt(reason, events, crashes=0)
            else:
                if final is not None:
                    return final
        return self._canceled(self._stop_request.reason) if self._stop_request is not None else None

    async def _run_attempt(self, call: Call, events: RunEvents) -> FinalEvent | None:
        """Run the job once and return its final event; None if it has to run again."""
        outcome = await self._run_call(call, events)
        if isinstance(outcome, Done):
            return None if self._must_repeat(outcome, call) else await self._final_of(call, outcome, events)
        if outcome.by_agent:
            log.info("runs again, as another job's worker was killed", id=self._job.id)
            return None
        return await self._count_crash(call, outcome, events)

    async def _run_call(self, call: Call, events: RunEvents) -> Done | WorkerDeath:
        """Publish what the worker reports of the call, until the call has an outcome."""
        limit: asyncio.TimerHandle | None = None
        self._call = call
        self._runner.put(call)
        try:
            while call.outcome is None:
                await call.wait_for_change()
                if call.outcome is None and call.is_lasting and limit is None:
                    events.started_event = Started(id=call.id, run=events.run, at=_datetime(call.started_at))
                    limit = self._start_run_limit(call)
                if call.outcome is None:
                    await self._forward(call, events)
                    if events.failure is not None:
                        self._runner.stop(call, StopRequest(events.failure, as_failed=True))
                    await events.flush(include_logs=True)
                    self._runner.resume()
            return call.outcome
        finally:
            self._call = None
            if limit is not None:
                limit.cancel()
            self._runner.resume()
            if call.outcome is None:
                self._runner.abandon(call)

    def _start_run_limit(self, call: Call) -> asyncio.TimerHandle:
        limit = self._context.run_limit
        request = StopRequest(f"the run limit of {limit:g} s was reached", as_failed=True)
        return asyncio.get_running_loop().call_later(
            limit - (time.time() - (call.started_at or time.time())), self._runner.stop, call, request
        )

    async def _wait_until_stopped(self, call: Call) -> None:
        """Wait until the worker has stopped the call: it could not tell a second one of the same id from the first."""
        while call.outcome is None:
            await call.wait_for_change()
            self._runner.resume()

    async def _forward(self, call: Call, events: RunEvents) -> None:
        """Move log and chunks from the call to its events, in order, up to the first chunk that cannot be published."""
        if call.is_log_due or call.outcome is not None:
            events.add_log(call.take_log())
        try:
            for chunk in call.take_chunks():
                if events.failure is None:
                    events.add_value(await self._prepare_value(chunk, events))
        except (FileStoreError, OutputTooLarge) as error:
            events.failure = str(error)

    async def _prepare_value(self, frame: Chunk | Done, events: RunEvents) -> Value:
        """Store the files of a value, and a value that is too large for an event."""
        assert frame.value is not None
        events.output_size += len(frame.value)
        if events.output_size > self._context.max_output:
            raise OutputTooLarge(events.output_size, self._context.max_output)
        value, files = Raw(replace_nul(frame.value)), frame.files
        if files:
            value, files = await self._context.files.upload_files(self._job.id, bytes(value), files)
        if len(text := bytes(value)) <= MAX_INLINE_BYTES:
            return Value(value, files)
        return Value(STORED_ELSEWHERE, files, await self._context.files.upload_value(self._job.id, text))

    def _must_repeat(self, done: Done, call: Call) -> bool:
        """Return whether the answer says nothing about the job, which has to run again."""
        if call.stop_request is not None and call.stop_request.as_failed:
            return False
        if done.status == "again":
            log.info("runs again, as its batch failed after the first output", id=self._job.id)
            self._runs_alone = True
            return True
        if not done.short or self._has_new_worker or not self._runner.replace_worker():
            return False
        log.info("runs again, as its worker had grown and had no memory left for it", id=self._job.id)
        self._has_new_worker = True
        return True

    async def _count_crash(self, call: Call, death: WorkerDeath, events: RunEvents) -> FinalEvent | None:
        """Publish the next attempt, or fail the job if too many workers have died of it."""
        crashes = self._job.crashes + 1
        log.warning("a worker died of this job", id=self._job.id, crashes=crashes, reason=death.reason)
        if crashes < MAX_CRASHES:
            await self._publish_next_attempt(death.reason, events, crashes=1)
            return None
        self._job = structs.replace(self._job, crashes=crashes, reason=death.reason)
        return await self._failed(call, f"the worker died {MAX_CRASHES} times: {death.reason}", events)

    async def _publish_next_attempt(self, reason: str, events: RunEvents, *, crashes: int) -> None:
        """Publish the job again for its next attempt, which runs here if there is no room in the queue."""
        job = self._job
        self._job = structs.replace(job, attempt=job.attempt + 1, crashes=job.crashes + crashes, reason=reason)
        self._is_republished = True
        try:
            sequence = await self._context.events.publish_job(self._job, self._delivery.subject)
        except QueueFull:
            self._is_republished = False
            return
        await self._context.events.publish(
            Crashed(id=job.id, run=events.run, at=now(), reason=reason, attempt=self._job.attempt, job=sequence)
        )

    async def _final_of(self, call: Call, done: Done, events: RunEvents) -> FinalEvent:
        """Return the final event of a call that the worker has answered."""
        await self._forward(call, events)
        failure = events.failure
        if failure is None and call.stop_request is not None and call.stop_request.as_failed:
            failure = call.stop_request.reason
        if failure is not None:
            return await self._failed(call, failure, events, done)
        try:
            last_values = [] if done.value is None else [await self._prepare_value(done, events)]
        except (FileStoreError, OutputTooLarge) as error:
            return await self._failed(call, str(error), events, done)
        fields = await self._final_fields(call, events, done, last_values, at=done.at, many=done.many)
        match done.status:
            case "ok":
                return Succeeded(**fields)
            case "stopped":
                return Canceled(**fields, error=call.stop_request.reason if call.stop_request is not None else None)
            case _:
                return Failed(**fields, error=(done.error or "the model gave no reason")[:MAX_ERROR_CHARACTERS])

    async def _failed(self, call: Call, error: str, events: RunEvents, done: Done | None = None) -> Failed:
        """Return the final event of a call that failed for another reason than the model's."""
        return Failed(**await self._final_fields(call, events, done, []), error=error)

    async def _final_fields(
        self,
        call: Call,
        events: RunEvents,
        done: Done | None,
        last_values: list[Value],
        *,
        at: float | None = None,
        many: bool = False,
    ) -> dict[str, Any]:
        """Return the fields that all final events have; `at` defaults to now."""
        # A final event counts only with all events that it refers to, and a long run outlives its first ones.
        if call.started_at is not None and time.time() - call.started_at > self._context.event_retention:
            events.restart(self._new_run())
        values, text = await events.remainder(reserved=sum(value.size for value in last_values))
        return {
            "id": call.id,
            "run": events.run,
            "at": _datetime(at),
            "created_at": self._job.created_at,
            "started_at": _datetime(call.started_at) if call.started_at is not None else None,
            "pulled_at": _datetime(self._delivery.pulled_at),
            "batched_at": _datetime(call.sent_at) if call.sent_at is not None else None,
            "outputs": events.output_count,
            **value_fields(values + last_values),
            "many": many or events.output_count > 0 or bool(values),
            "logs": events.log_length,
            "log": text,
            "metrics": self._metrics(call, done),
        }

    def _canceled(self, reason: str | None) -> Canceled:
        """Return the final event of a job that was canceled before a run, or between two."""
        return Canceled(id=self._job.id, run=None, at=now(), error=reason, metrics=self._metrics())

    def _rejected(self, error: str) -> Failed:
        """Return the final event of a job that cannot run here."""
        return Failed(id=self._job.id, run=None, at=now(), error=error, metrics=self._metrics())

    def _metrics(self, call: Call | None = None, done: Done | None = None) -> dict[str, Any]:
        return metrics.measure(self._job, self._kind, self._delivery.pulled_at, call, done)

    async def _read_input(self) -> bytes:
        if self._kind == "build":
            return self._job.version.encode()
        if self._job.input_key is not None:
            return await self._context.files.fetch(self._job.input_key)
        return bytes(self._job.input)

    def _new_run(self) -> Run:
        """Return a new start, later than any earlier one of this job here."""
        self._last_run_at = max(int(time.time() * 1000), self._last_run_at + 1)
        return Run(self._job.attempt, self._last_run_at, self._context.agent)


class OutputTooLarge(Exception):
    """A prediction has more output than it may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"an output of {size} bytes is too large: the limit is {limit} (SAMOVAR_MAX_OUTPUT); return a file instead"
        )


def now() -> datetime:
    """Return the time, with its time zone."""
    return datetime.now(UTC)


def _datetime(at: float | None) -> datetime:
    return datetime.fromtimestamp(at, UTC) if at is not None else now()
