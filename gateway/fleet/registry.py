"""The runners lately heard of, and what they mean for a version: who has it, who is on the way, who could take it."""

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
from msgspec import Struct, structs

from schemas import subjects
from schemas.models import Presence, Release
from schemas.phases import PHASES

log = structlog.get_logger("samovar.runners")

HEARD: Final = 8.0  # seconds after which a runner that says nothing is taken for gone

QUEUED: Final = "queued"
NOBODY: Final = "waiting for a runner"
PAUSED: Final = "paused: max_instances is 0"


class Sought(Protocol):
    """A version that somebody waits for."""

    @property
    def id(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    @property
    def pushed(self) -> bool: ...


class Index(Struct, frozen=True):
    """What all presences say together, by service: asked with every create, made anew only when it changes."""

    warm: frozenset[str] = frozenset()
    starting: dict[str, str] = {}
    failed: dict[str, str] = {}
    offered: frozenset[str] = frozenset()
    """Versions."""
    pools: frozenset[str] = frozenset()
    hardware: frozenset[str] = frozenset()


class Watched(Struct):
    """A version that somebody watches, and why it is still starting, as they were last told."""

    version: Sought
    reason: str
    stirs: list[Callable[[], None]] = []


class Fleet:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[float, Presence]] = {}
        self._due = math.inf
        """Before this moment nobody can have been silent for too long."""
        self._index = Index()
        self._watched: dict[str, Watched] = {}
        self.served: Mapping[str, Release] = {}
        """The releases that runners were told of, by pool."""
        self._listening: list[Callable[[], None]] = []

    def hear(self, presence: Presence) -> list[str] | None:
        """The versions that it offers; None: it did not say them again, and has to be asked."""
        now = self._clock()
        _, before = self._heard.get(presence.agent, (now, None))
        known = True
        if presence.edition and not presence.versions:
            known = before is not None and before.edition == presence.edition
            said = {"versions": before.versions} if before is not None and known else {"edition": ""}
            presence = structs.replace(presence, **said)
        self._heard[presence.agent] = (now, presence)
        self._due = min(self._due, now + HEARD)
        if before is None:
            log.info("runner_there", agent=presence.agent, host=presence.host, versions=len(presence.versions))
        if before is None or _said(before) != _said(presence):
            self._changed()
        self._stir()
        return presence.versions if known else None

    def sweep(self) -> float:
        """Forget who has been silent for too long. Returns the seconds until that may be the case again."""
        now = self._clock()
        if now > self._due:
            gone = [agent for agent, (at, _) in self._heard.items() if now - at > HEARD]
            for agent in gone:
                log.warning("runner_gone", agent=agent)
                del self._heard[agent]
            self._due = min((at for at, _ in self._heard.values()), default=math.inf) + HEARD
            if gone:
                self._changed()
                self._stir()
        return max(min(self._due - now, HEARD), 0.0)

    def present(self) -> list[Presence]:
        """By host."""
        self.sweep()
        return sorted((presence for _, presence in self._heard.values()), key=lambda each: (each.host, each.agent))

    def warm(self, service: str) -> bool:
        """Whether anybody has it warm. If not, a new job should wake somebody."""
        self.sweep()
        return service in self._index.warm

    def failed(self, service: str) -> str | None:
        """Why it could not be set up, when that was tried last."""
        self.sweep()
        return self._index.failed.get(service)

    def starting(self, service: str) -> str | None:
        """The phase that it is in on its way there, where it is furthest; None if nobody is on it."""
        self.sweep()
        return self._index.starting.get(service)

    def reason(self, version: Sought) -> str:
        """Why a job of this version has not begun."""
        self.sweep()
        index, service = self._index, subjects.service(version.pool, version.id)
        if service in index.warm:
            return QUEUED
        if phase := index.starting.get(service):
            return phase
        if release := self.served.get(version.pool):
            return self.standing(version.pool, version.id, release.hardware) or QUEUED
        # What was pushed, any runner of its pool can fetch.
        folder = version.root or version.id
        could = folder in index.offered or (version.pushed and version.pool in index.pools)
        return QUEUED if could else NOBODY

    def standing(self, pool: str, version: str, hardware: str) -> str | None:
        """Why a release is not warm; None: nobody has wanted it yet."""
        self.sweep()
        release = self.served.get(pool)
        if release is not None and not release.max_instances:
            return PAUSED
        if hardware and hardware not in self._index.hardware:
            return f"{NOBODY} with {hardware}"
        return self._index.starting.get(subjects.service(pool, version))

    def offering(self, version: str) -> str | None:
        """A host whose runner offers it from a folder of its own."""
        return next((presence.host for presence in self.present() if version in presence.versions), None)

    @contextmanager
    def watch(self, version: Sought, stir: Callable[[], None]) -> Generator[None]:
        """`stir` is called whenever the reason is another one."""
        service = subjects.service(version.pool, version.id)
        watched = self._watched.get(service)
        if watched is None:
            watched = self._watched[service] = Watched(version, self.reason(version))
        watched.stirs.append(stir)
        try:
            yield
        finally:
            watched.stirs.remove(stir)
            if not watched.stirs:
                del self._watched[service]

    @contextmanager
    def listen(self, stir: Callable[[], None]) -> Generator[None]:
        """`stir` is called whenever a runner has said anything, and when one has gone."""
        self._listening.append(stir)
        try:
            yield
        finally:
            self._listening.remove(stir)

    def _stir(self) -> None:
        for stir in list(self._listening):
            stir()

    def _changed(self) -> None:
        self._index = index(presence for _, presence in self._heard.values())
        for watched in list(self._watched.values()):
            reason = self.reason(watched.version)
            if reason != watched.reason:
                watched.reason = reason
                for stir in list(watched.stirs):
                    stir()


def index(presences: Iterable[Presence]) -> Index:
    warm, offered, pools = set[str](), set[str](), set[str]()
    starting, failed, hardware = dict[str, str](), dict[str, str](), set[str]()
    for presence in presences:
        failed |= presence.failed
        hardware.add(presence.hardware)
        warm.update(presence.warm)
        offered.update(presence.versions)
        pools.add(presence.pool)
        for version, phase in presence.starting.items():
            starting[version] = max(phase, starting.get(version, phase), key=_furthest)
    return Index(frozenset(warm), starting, failed, frozenset(offered), frozenset(pools), frozenset(hardware))


def _furthest(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else -1


def _said(presence: Presence) -> tuple[object, ...]:
    """What of it the index is made of; the rest changes all the time."""
    return presence.pool, presence.versions, presence.warm, presence.starting, presence.failed, presence.hardware
