"""NATS: jobs out, finals in, and what was said of a prediction."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import Struct, convert, json
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from bus.client import Client, Heard, NoAnswer, NoResponders
from gateway.errors import QueueFull
from schemas import events, subjects
from schemas.events import Event
from schemas.events import Final as FinalEvent
from schemas.jobs import Cancel, Job
from schemas.models import Retired

log = structlog.get_logger("samovar.broker")

DEADLINE: Final = 2.0  # seconds for one request to the broker
NO_MESSAGE: Final = 404
BATCH: Final = 1000

QUEUE_FULL: Final = 10077
SECOND_FINAL: Final = 10071
NOT_THERE: Final = {10059, 10014}  # stream, consumer


class Failed(Exception):
    """The broker did not do what it was asked, or did not answer."""

    def __init__(self, code: int = 0, description: str = "no answer") -> None:
        super().__init__(f"{description} ({code})" if code else description)
        self.code = code


class Refusal(Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class Ack(Struct, frozen=True):
    seq: int = 0
    error: Refusal | None = None


_acks: Final = json.Decoder(Ack)


@asynccontextmanager
async def connected(url: str, on_gap: Callable[[], None]) -> AsyncGenerator[Client]:
    """A connection that is never given up. `on_gap` is called whenever messages may have been missed."""

    async def disconnected() -> None:
        client.give_up()
        if not client.is_closed:
            log.warning("broker_lost")

    async def reconnected() -> None:
        log.info("broker_back")
        on_gap()

    async def failed(error: Exception) -> None:
        log.warning("broker_error", error=str(error) or type(error).__name__)
        on_gap()

    client = Client()
    await client.connect(
        url,
        name="samovar-gateway",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]  it is slept
        ping_interval=10,
        max_outstanding_pings=2,
        pending_size=64 * 1024 * 1024,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
    )
    try:
        yield client
    finally:
        # uvloop has a RuntimeError of its own for a transport that is closed already.
        with suppress(NatsError, OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(DEADLINE):
                await client.close()


class Broker:
    def __init__(self, client: Client, streams: dict[str, dict[str, Any]]) -> None:
        self._client = client
        self._streams = streams
        self.jobs_made: datetime | None = None
        """When the jobs stream was made: sequences noted of another one mean nothing."""

    async def submit(self, job: Job, pool: str) -> int:
        """The job's sequence. Raises `QueueFull`, or `Failed`: the reconciler will publish it then."""
        subject, what = _queue(job, pool)
        try:
            ack = await self._publish(subject, json.encode(job), {"Nats-Msg-Id": f"{job.id}:{job.attempt}"})
        except Failed as error:
            if error.code == QUEUE_FULL:
                raise QueueFull(f"Too many {what}.") from error
            raise
        return ack.seq

    async def say(self, event: Event) -> None:
        """Raises `Failed`; with code `SECOND_FINAL` for a final event that came too late."""
        headers = {"Nats-Expected-Last-Subject-Sequence": "0"} if isinstance(event, FinalEvent) else None
        await self._publish(subjects.event(event.id, events.kind(event)), events.encode(event), headers)

    async def cancel(self, cancel: Cancel) -> None:
        await self.tell(subjects.CANCELS, json.encode(cancel))

    async def wake(self, pool: str, version: str) -> None:
        await self.tell(subjects.wake(pool, version))

    async def tell(self, subject: str, payload: bytes = b"") -> None:
        """To whoever listens; lost when nobody does."""
        with suppress(NatsError, OSError):
            await self._client.publish(subject, payload)

    async def reach_runner(self) -> bool:
        with suppress(NatsError, TimeoutError, OSError):
            await self._client.request(subjects.PING, timeout=1)
            return True
        return False

    async def reach(self) -> bool:
        with suppress(NatsError, TimeoutError, OSError):
            await self._client.flush(1)
            return True
        return False

    async def history(self, id: str) -> list[Event]:
        """All that is still kept of what was said of a prediction, in order."""
        said: list[Event] = []
        start = 1
        while True:
            messages, more = await self._direct(
                {"seq": start, "next_by_subj": subjects.events_of(id), "batch": BATCH, "max_bytes": 8_000_000}
            )
            said += [events.decode(message.data) for message in messages]
            if not more or not messages:
                return said
            start = _sequence(messages[-1]) + 1

    async def holds_job(self, sequence: int) -> bool:
        """Whether the job is still queued or being worked on. Exact: gone once it is acknowledged."""
        reply = await self._request(f"$JS.API.DIRECT.GET.{subjects.JOBS}", json.encode({"seq": sequence}))
        return reply.status != NO_MESSAGE

    async def depths(self) -> dict[str, int]:
        """How many jobs there are on each subject, those in hand included. Raises `Failed`."""
        found: dict[str, int] = {}
        offset, total = 0, 1
        while offset < total:  # JetStream lists 100,000 subjects at once
            try:
                page = await self.ask(f"STREAM.INFO.{subjects.JOBS}", {"subjects_filter": "jobs.>", "offset": offset})
            except Failed as error:
                if error.code in NOT_THERE:
                    break
                raise
            depths: dict[str, int] = page["state"].get("subjects") or {}
            found |= depths
            offset, total = offset + len(depths), page.get("total", 0) if depths else 0
        return found

    async def discard_job(self, sequence: int) -> None:
        """Tidying: a job that nobody should start."""
        with suppress(Failed):
            await self.ask(f"STREAM.MSG.DELETE.{subjects.JOBS}", {"seq": sequence, "no_erase": True})

    async def discard_jobs(self, model: str, version: str) -> None:
        """Tidying: jobs of a version that is gone."""
        with suppress(Failed):
            await self.ask(f"STREAM.PURGE.{subjects.JOBS}", {"filter": subjects.jobs_of("*", model, version)})

    async def retire(self, retired: Retired) -> None:
        await self.tell(subjects.RETIRED, json.encode(retired))

    async def forget(self, id: str) -> None:
        """Drop all that was said of a prediction, so that it can be said anew."""
        await self.ask(f"STREAM.PURGE.{subjects.EVENTS}", {"filter": subjects.events_of(id)})

    async def ensure(self) -> None:
        """Make the streams that are missing, and note when the jobs stream was made."""
        for name, config in self._streams.items():
            answer = await self._ensure_stream(name, config)
            if name == subjects.JOBS:
                self.jobs_made = convert(answer["created"], datetime)

    async def ask(self, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call of JetStream's API. Raises `Failed`."""
        reply = await self._request(f"$JS.API.{call}", json.encode(body) if body is not None else b"")
        answer = json.decode(reply.data, type=dict[str, Any])
        if error := answer.get("error"):
            raise Failed(error.get("err_code", 0), error.get("description", ""))
        return answer

    async def _ensure_stream(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.ask(f"STREAM.INFO.{name}")
        except Failed as error:
            if error.code not in NOT_THERE:
                raise
        log.info("stream_made", stream=name)
        return await self.ask(f"STREAM.CREATE.{name}", config)

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> Ack:
        try:
            reply = await self._request(subject, payload, headers)
        except NoStream:
            await self.ensure()
            reply = await self._request(subject, payload, headers)
        ack = _acks.decode(reply.data)
        if ack.error is not None:
            raise Failed(ack.error.err_code, ack.error.description)
        return ack

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Heard:
        try:
            return await self._client.ask(subject, payload, headers, within=DEADLINE)
        except NoResponders as error:
            raise NoStream from error
        except (NoAnswer, NatsError, OSError) as error:
            raise Failed from error

    async def _direct(self, query: dict[str, Any]) -> tuple[Sequence[Msg], bool]:
        """The messages of a batched direct get, and whether there are more."""
        inbox = self._client.new_inbox()
        messages: list[Msg] = []
        subscription = await self._client.subscribe(inbox, pending_msgs_limit=0, pending_bytes_limit=0)
        try:
            await self._client.publish(f"$JS.API.DIRECT.GET.{subjects.EVENTS}", json.encode(query), reply=inbox)
            while True:
                message = await subscription.next_msg(DEADLINE)
                match _status(message):
                    case 0:
                        messages.append(message)
                    case 204:
                        return messages, int((message.headers or {}).get("Nats-Num-Pending", 0)) > 0
                    case 404:
                        return messages, False
                    case 503:
                        raise NoStream
                    case code:
                        raise Failed(code, "direct get")
        except (NatsError, OSError, TimeoutError) as error:
            raise Failed from error
        finally:
            with suppress(NatsError, OSError):
                await subscription.unsubscribe()


class NoStream(Failed):
    """Nobody answers for the stream: it is not there, or the broker is just coming up."""


def _queue(job: Job, pool: str) -> tuple[str, str]:
    """Where a job waits, and what to call those that do."""
    match job.kind:
        case "build":
            return subjects.builds(pool), "pushes wait"
        case "train":
            return subjects.trainings(pool), "trainings wait"
        case _:
            return subjects.job(pool, job.model, job.version), f"predictions wait for {job.model}"


def _status(message: Msg) -> int:
    return int((message.headers or {}).get("Status", 0))


def _sequence(message: Msg) -> int:
    return int((message.headers or {})["Nats-Sequence"])
