"""Who has which instance: a key per instance in a bucket of the broker's, which expires unless it is renewed.

`create` is what makes it a claim: the broker takes one first message per key, and refuses the second.
"""

import asyncio
from typing import Any, Final, Protocol

import structlog
from msgspec import Struct, json

from bus.client import Heard
from runners.broker.streams import refuse
from runners.errors import NoAnswer, NoResponders, Refused, RunnerError
from schemas import subjects

log = structlog.stdlib.get_logger()

TTL: Final = 10.0  # seconds
RENEW: Final = 3.0
TAKEN: Final = 10071  # wrong last sequence: somebody else was first
MISSING: Final = 10059  # stream not found
IN_USE: Final = 10058
_SECOND: Final = 1_000_000_000
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


class Wire(Protocol):
    async def ask(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None, within: float = 2.0
    ) -> Heard: ...


class Claim:
    """An instance that is ours to load. `lost` is set once it is somebody else's."""

    def __init__(self, service: str, number: int, sequence: int) -> None:
        self.service = service
        self.number = number
        self.sequence = sequence
        self.lost = asyncio.Event()

    @property
    def key(self) -> str:
        return subjects.instance(self.service, self.number)


class _Stored(Struct, frozen=True):
    seq: int = 0


class _State(Struct, frozen=True):
    subjects: dict[str, int] = {}


class _Info(Struct, frozen=True):
    state: _State = _State()


class Claims:
    def __init__(self, link: Wire, agent: str, *, replicas: int = 1, ttl: float = TTL, renew: float = RENEW) -> None:
        self._link = link
        self._name = agent.encode()
        self._replicas = replicas
        self._ttl = ttl
        self._every = renew
        self._held: set[Claim] = set()

    async def take(self, service: str, numbers: range) -> Claim | None:
        """The first of these instances that nobody has. None: all are taken. Raises `RunnerError`."""
        for number in numbers:
            sequence = await self._put(subjects.instance(service, number), 0)
            if sequence is not None:
                claim = Claim(service, number, sequence)
                self._held.add(claim)
                return claim
        return None

    async def release(self, claim: Claim) -> None:
        """Somebody else may have it. A broker that does not answer forgets it by itself."""
        self._held.discard(claim)
        if claim.lost.is_set():
            return
        question = json.encode({"filter": claim.key})
        try:
            refuse((await self._link.ask(f"$JS.API.STREAM.PURGE.{subjects.INSTANCES}", question)).data)
        except RunnerError as error:
            log.debug("a claim was left to expire", service=claim.service, reason=str(error))

    async def keep(self) -> None:
        """Renew what is held, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await asyncio.gather(*(self._renew(claim) for claim in list(self._held)))

    async def taken(self) -> set[str]:
        """Services of which somebody has an instance. Raises `RunnerError`."""
        question = json.encode({"subjects_filter": subjects.INSTANCES_ALL})
        answer = await self._link.ask(f"$JS.API.STREAM.INFO.{subjects.INSTANCES}", question)
        try:
            refuse(answer.data)
        except Refused as error:
            if error.code == MISSING:
                return set()
            raise
        return {subject.split(".")[2] for subject in json.decode(answer.data, type=_Info).state.subjects}

    async def _renew(self, claim: Claim) -> None:
        try:
            sequence = await self._put(claim.key, claim.sequence)
            if sequence is None:
                # It expired while we were away, or the bucket is a new one: it is ours if it is nobody's.
                sequence = await self._put(claim.key, 0)
        except RunnerError as error:
            log.debug("a claim was not renewed", service=claim.service, reason=str(error))
            return
        if sequence is not None:
            claim.sequence = sequence
        elif claim in self._held:
            log.warning("an instance is somebody else's now", service=claim.service, number=claim.number)
            self._held.discard(claim)
            claim.lost.set()

    async def _put(self, key: str, after: int) -> int | None:
        """Its sequence; None: another message than that was the last of this key."""
        for _ in range(2):
            try:
                return await self._put_once(key, after)
            except (NoResponders, Refused) as error:
                if isinstance(error, Refused) and error.code != MISSING:
                    raise
                await self._make()
        raise NoAnswer("the bucket of claims cannot be made")

    async def _put_once(self, key: str, after: int) -> int | None:
        answer = await self._link.ask(key, self._name, {_EXPECTED: str(after)})
        if answer.status == 503:
            raise NoResponders("there is no bucket of claims")
        try:
            refuse(answer.data)
        except Refused as error:
            if error.code == TAKEN:
                return None
            raise
        return json.decode(answer.data, type=_Stored).seq

    async def _make(self) -> None:
        config: dict[str, Any] = {
            "name": subjects.INSTANCES,
            "subjects": [subjects.INSTANCES_ALL],
            "max_msgs_per_subject": 1,
            "max_age": int(self._ttl * _SECOND),
            "storage": "memory",
            "discard": "new",
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "num_replicas": self._replicas,
        }
        answer = await self._link.ask(f"$JS.API.STREAM.CREATE.{subjects.INSTANCES}", json.encode(config))
        try:
            refuse(answer.data)
        except Refused as error:
            if error.code != IN_USE:
                raise
