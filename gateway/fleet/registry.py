"""The registry of runners: who has a version, who is loading it, and who could take it."""

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
from msgspec import Struct, structs

from schemas import subjects
from schemas.models import Heartbeat, Release
from schemas.phases import PHASES

log = structlog.get_logger("samovar.runners")

SILENCE_SECONDS: Final = 8.0  # a runner without a heartbeat for this long counts as gone

QUEUED: Final = "queued"
NO_RUNNER: Final = "waiting for a runner"
PAUSED: Final = "paused: max_instances is 0"


class AwaitedVersion(Protocol):
    """A version that somebody waits for."""

    @property
    def id(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    @property
    def is_pushed(self) -> bool: ...


class FleetIndex(Struct, frozen=True):
    """An index of what all heartbeats say together, by service.

    It is read with every create, and rebuilt only when it changes.
    """

    warm: frozenset[str] = frozenset()
    starting: dict[str, str] = {}
    failed: dict[str, str] = {}
    versions: frozenset[str] = frozenset()
    """Versions."""
    pools: frozenset[str] = frozenset()
    hardware: frozenset[str] = frozenset()


class WatchedVersion(Struct):
    """A version that callers watch, and the reason why it has not started, as they last learned it."""

    version: AwaitedVersion
    reason: str
    callbacks: list[Callable[[], None]] = []


class FleetRegistry:
    """The runners that have sent a heartbeat lately, and an index of what they have.

    It owns the heartbeats, and the callbacks of those who watch a version or listen to all changes. Used by whatever
    asks whether a version is warm, and why a prediction has not started.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heartbeats: dict[str, tuple[float, Heartbeat]] = {}
        self._next_expiry = math.inf
        """The earliest time at which a runner can have been silent for too long."""
        self._index = FleetIndex()
        self._watched: dict[str, WatchedVersion] = {}
        self.releases: Mapping[str, Release] = {}
        """The releases that were published to runners, by pool."""
        self._listeners: list[Callable[[], None]] = []

    def record_heartbeat(self, heartbeat: Heartbeat) -> list[str] | None:
        """Record a heartbeat and return the versions that its runner has in folders of its own.

        Returns None if the heartbeat left them out and the gateway does not know them: then the runner has to be asked.
        """
        now = self._clock()
        _, previous = self._heartbeats.get(heartbeat.agent, (now, None))
        is_known = True
        if heartbeat.edition and not heartbeat.versions:
            is_known = previous is not None and previous.edition == heartbeat.edition
            changes = {"versions": previous.versions} if previous is not None and is_known else {"edition": ""}
            heartbeat = structs.replace(heartbeat, **changes)
        self._heartbeats[heartbeat.agent] = (now, heartbeat)
        self._next_expiry = min(self._next_expiry, now + SILENCE_SECONDS)
        if previous is None:
            log.info("runner_joined", agent=heartbeat.agent, host=heartbeat.host, versions=len(heartbeat.versions))
        if previous is None or _indexed_fields(previous) != _indexed_fields(heartbeat):
            self._rebuild_index()
        self._notify_listeners()
        return heartbeat.versions if is_known else None

    def sweep(self) -> float:
        """Forget runners that have been silent for too long; return the seconds until another may be."""
        now = self._clock()
        if now > self._next_expiry:
            silent_agents = [agent for agent, (at, _) in self._heartbeats.items() if now - at > SILENCE_SECONDS]
            for agent in silent_agents:
                log.warning("runner_gone", agent=agent)
                del self._heartbeats[agent]
            self._next_expiry = min((at for at, _ in self._heartbeats.values()), default=math.inf) + SILENCE_SECONDS
            if silent_agents:
                self._rebuild_index()
                self._notify_listeners()
        return max(min(self._next_expiry - now, SILENCE_SECONDS), 0.0)

    def list_runners(self) -> list[Heartbeat]:
        """Return the last heartbeat of each runner, by host."""
        self.sweep()
        return sorted(
            (heartbeat for _, heartbeat in self._heartbeats.values()), key=lambda each: (each.host, each.agent)
        )

    def is_warm(self, service: str) -> bool:
        """Return whether any runner has the service warm. If not, a new job should wake one."""
        self.sweep()
        return service in self._index.warm

    def failure(self, service: str) -> str | None:
        """Return why the service could not be set up when that was last tried, or None."""
        self.sweep()
        return self._index.failed.get(service)

    def starting_phase(self, service: str) -> str | None:
        """Return the phase of the service where it is furthest on its way, or None if nobody loads it."""
        self.sweep()
        return self._index.starting.get(service)

    def waiting_reason(self, version: AwaitedVersion) -> str:
        """Return why a job of this version has not started."""
        self.sweep()
        index, service = self._index, subjects.service(version.pool, version.id)
        if service in index.warm:
            return QUEUED
        if phase := index.starting.get(service):
            return phase
        if release := self.releases.get(version.pool):
            return self.release_reason(version.pool, version.id, release.hardware) or QUEUED
        # Any runner of its pool can fetch a version that was pushed.
        folder = version.root or version.id
        can_run = folder in index.versions or (version.is_pushed and version.pool in index.pools)
        return QUEUED if can_run else NO_RUNNER

    def release_reason(self, pool: str, version: str, hardware: str) -> str | None:
        """Return why a release is not warm, or None if nobody has needed it yet."""
        self.sweep()
        release = self.releases.get(pool)
        if release is not None and not release.max_instances:
            return PAUSED
        if hardware and hardware not in self._index.hardware:
            return f"{NO_RUNNER} with {hardware}"
        return self._index.starting.get(subjects.service(pool, version))

    def host_with_folder(self, version: str) -> str | None:
        """Return a host whose runner has this version in a folder of its own, or None."""
        return next((heartbeat.host for heartbeat in self.list_runners() if version in heartbeat.versions), None)

    @contextmanager
    def watch(self, version: AwaitedVersion, on_change: Callable[[], None]) -> Generator[None]:
        """Call `on_change` whenever the waiting reason of this version changes."""
        service = subjects.service(version.pool, version.id)
        watched = self._watched.get(service)
        if watched is None:
            watched = self._watched[service] = WatchedVersion(version, self.waiting_reason(version))
        watched.callbacks.append(on_change)
        try:
            yield
        finally:
            watched.callbacks.remove(on_change)
            if not watched.callbacks:
                del self._watched[service]

    @contextmanager
    def listen(self, on_change: Callable[[], None]) -> Generator[None]:
        """Call `on_change` after every heartbeat, and when a runner has gone."""
        self._listeners.append(on_change)
        try:
            yield
        finally:
            self._listeners.remove(on_change)

    def _notify_listeners(self) -> None:
        for on_change in list(self._listeners):
            on_change()

    def _rebuild_index(self) -> None:
        self._index = build_index(heartbeat for _, heartbeat in self._heartbeats.values())
        for watched in list(self._watched.values()):
            reason = self.waiting_reason(watched.version)
            if reason != watched.reason:
                watched.reason = reason
                for on_change in list(watched.callbacks):
                    on_change()


def build_index(heartbeats: Iterable[Heartbeat]) -> FleetIndex:
    """Build the index of these heartbeats."""
    warm, versions, pools = set[str](), set[str](), set[str]()
    starting, failed, hardware = dict[str, str](), dict[str, str](), set[str]()
    for heartbeat in heartbeats:
        failed |= heartbeat.failed
        hardware.add(heartbeat.hardware)
        warm.update(heartbeat.warm)
        versions.update(heartbeat.versions)
        pools.add(heartbeat.pool)
        for version, phase in heartbeat.starting.items():
            starting[version] = max(phase, starting.get(version, phase), key=_phase_order)
    return FleetIndex(frozenset(warm), starting, failed, frozenset(versions), frozenset(pools), frozenset(hardware))


def _phase_order(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else -1


def _indexed_fields(heartbeat: Heartbeat) -> tuple[object, ...]:
    """Return the fields that the index is made of; the others change all the time."""
    return heartbeat.pool, heartbeat.versions, heartbeat.warm, heartbeat.starting, heartbeat.failed, heartbeat.hardware
