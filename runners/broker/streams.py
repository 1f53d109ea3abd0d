"""What JetStream keeps for us: streams and consumers are made where they are missing, and asked what they hold."""

import asyncio
from typing import Any, Final, TypeVar

import structlog
from msgspec import Struct, json

from runners.broker.connection import Link
from runners.errors import NoAnswer, Refused
from schemas import subjects

log = structlog.stdlib.get_logger()

T = TypeVar("T")

IN_USE: Final = 10058  # the stream exists, with another configuration
SECOND: Final = 1_000_000_000


class Trouble(Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class Answer(Struct, frozen=True):
    error: Trouble | None = None


class State(Struct, frozen=True):
    subjects: dict[str, int] = {}


class StreamInfo(Answer, frozen=True):
    created: str = ""
    state: State = State()


class Streams:
    def __init__(self, link: Link, configs: dict[str, dict[str, object]]) -> None:
        self._link = link
        self._configs = configs
        self._making: asyncio.Task[None] | None = None
        self.born = ""
        """When the jobs stream was made: another one means that what we hold of the old is not known there."""

    async def ensure(self) -> None:
        """Make what is missing. Many who miss it at once make it once."""
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(self._make())
        await asyncio.shield(self._making)

    async def waiting(self, pool: str) -> dict[str, int]:
        """How many jobs there are on each subject of a pool."""
        question = json.encode({"subjects_filter": f"jobs.{pool}.>"})
        info = await self._call(f"$JS.API.STREAM.INFO.{subjects.JOBS}", question, StreamInfo)
        return info.state.subjects

    async def consumer(self, name: str, filter: str, ack_wait: float) -> None:
        config: dict[str, Any] = {
            "durable_name": name,
            "name": name,
            "filter_subject": filter,
            "ack_policy": "explicit",
            "ack_wait": int(ack_wait * SECOND),
            "max_deliver": -1,
            "max_ack_pending": 20_000,
            "inactive_threshold": 60 * SECOND,
        }
        question = json.encode({"stream_name": subjects.JOBS, "config": config})
        await self._call(f"$JS.API.CONSUMER.CREATE.{subjects.JOBS}.{name}", question, Answer)

    async def last_event(self, subject: str) -> bytes | None:
        answer = await self._link.ask(f"$JS.API.DIRECT.GET.{subjects.EVENTS}.{subject}")
        return None if answer.status is not None else answer.data

    async def holds(self, sequence: int, subject: str) -> bool:
        """Whether the events stream still has this event of ours, and not another's in its place."""
        question = json.encode({"seq": sequence})
        answer = await self._link.ask(f"$JS.API.DIRECT.GET.{subjects.EVENTS}", question)
        return answer.status is None and answer.headers.get("Nats-Subject", "").startswith(subject)

    async def _make(self) -> None:
        for name, config in self._configs.items():
            info = await self._made(name, config)
            if name == subjects.JOBS:
                self.born = info.created

    async def _made(self, name: str, config: dict[str, object]) -> StreamInfo:
        try:
            return await self._call(f"$JS.API.STREAM.CREATE.{name}", json.encode(config), StreamInfo)
        except Refused as refusal:
            if refusal.code != IN_USE:
                raise
            log.debug("the stream has another configuration than ours; it stays", stream=name)
        return await self._call(f"$JS.API.STREAM.INFO.{name}", b"", StreamInfo)

    async def _call(self, subject: str, question: bytes, kind: type[T]) -> T:
        answer = await self._link.ask(subject, question, within=5)
        if answer.status is not None:
            raise NoAnswer(f"{subject} answered with status {answer.status}")
        refuse(answer.data)
        return json.decode(answer.data, type=kind)


_answer = json.Decoder(Answer)


def refuse(answer: bytes) -> None:
    """Raise what JetStream complains of."""
    trouble = _answer.decode(answer).error
    if trouble is not None:
        raise Refused(trouble.err_code, trouble.description)
