"""Which services have instances here, from their being wanted until they have gone."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct

from runners.broker.leases import Claim
from runners.errors import Outgrown, RunnerError, Unavailable
from runners.instances.scheduler import Seating
from runners.instances.slot import Keeper, Resident, Ticking
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints, Needs
from runners.placement.planner import Host
from runners.settings import Settings
from schemas import phases, subjects
from schemas.models import Release

log = structlog.stdlib.get_logger()

FIRST_PAUSE: Final = 10.0  # seconds for which a version whose set-up failed is not tried again
LONGEST_PAUSE: Final = 300.0
RETIRING: Final = 30.0  # seconds in which jobs of a deleted version end, which are told to by a gateway
FAULT_PAUSE: Final = 1.0  # before a version that a fault of ours dropped is tried again here; others may take its jobs
POLITE: Final = 0.1  # seconds that a host waits which has to make room, for one that has some
NOT_OURS: Final = 5.0  # seconds for which it is not asked again whether a version can be had
LEFT_ALONE: Final = 1.0  # seconds for which a version is not asked for again that another host has
EXTRA_IDLE: Final = 60.0  # seconds without work after which an instance beside the first one goes
DEEP: Final = 2.0  # seconds of work in a queue from which on another instance is worth while

COUNTED: Final = ("loads", "parks", "unparks", "evictions", "replaced", "killed")

_VERSION: Final = re.compile("[0-9a-f]{64}")


class Finding(Protocol):
    """Where versions come from."""

    async def ours(self, version: str) -> bool: ...
    async def find(self, service: str, say: Callable[[str], None]) -> Keeper | None: ...
    def hints(self) -> Mapping[str, Hints]: ...


class Claiming(Protocol):
    async def take(self, service: str, numbers: range, /) -> Claim | None: ...
    async def release(self, claim: Claim) -> None: ...


class Parts(Struct, frozen=True, kw_only=True):
    host: Host
    settings: Settings
    serving: Finding
    claims: Claiming
    needs: Needs
    releases: Callable[[], Mapping[str, Release]]
    """Those that may be served here, by service; they come and go."""
    left: Callable[[], None]
    """A version has gone, and what waits for it may be anybody's."""


class Pool:
    def __init__(self, versions: Iterable[str], parts: Parts) -> None:
        self.versions = sorted(versions)
        self._parts = parts
        self._settings = parts.settings
        self.seating = Seating(parts.host, parts.settings, parts.needs, parts.serving.hints, self)
        self._residents = self.seating.residents
        self._least = self._wanted()
        """How many instances models want in any case; those that want none, as nearly all do, are left out."""
        self._failures: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        """Of services that could not be set up when that was tried last."""
        self._elsewhere: dict[str, float] = {}
        """Until when a service is left to the host that has claimed it: every create of a cold one wakes all hosts."""
        self._closing = False
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.changed = asyncio.Event()
        """Set when something became warm or cold, or when more is offered."""

    def want(self, service: str) -> None:
        """There is work for it: have it here, unless it is or cannot be ours."""
        mine = self._of(service)
        for resident in mine:
            if resident.parked and not resident.leaving:
                self._call_back(resident)
        if not mine and time.monotonic() >= self._elsewhere.get(service, 0.0):
            self._begin(service, range(1))

    def want_more(self, service: str) -> bool:
        """Its queue is deep: one more instance, on a device that has none of it. False: there is no room."""
        mine = self._of(service)
        devices = len(self._parts.host.devices)
        if any(each.seat is None for each in mine) or len(self.seating.used(service)) >= devices:
            return False
        if not self.seating.has_room(subjects.version_of(service)):
            return False
        most = self._most(service)
        return most > 1 and self._begin(service, range(1, most), modest=True)

    def offer(self, version: str) -> None:
        """From now on it is said to be here."""
        self.versions = sorted({*self.versions, version})
        self._least = self._wanted()
        self._elsewhere = {each: at for each, at in self._elsewhere.items() if subjects.version_of(each) != version}
        self._said()

    async def retire(self, version: str) -> None:
        """It was deleted: what runs may come to its end, the rest goes back. Done once nothing of it is left."""
        if version not in self.versions:
            mine = [each for each in self._residents if each.version == version and each.task is not None]
            tasks = [self._leave(resident, RETIRING) for resident in mine]
            if tasks:
                await asyncio.wait(tasks)
        for service in [each for each in self._failures if subjects.version_of(each) == version]:
            self._failures.pop(service)
            self._reasons.pop(service, None)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    @property
    def edition(self) -> str:
        """Of the versions: others have another; empty for none."""
        return hashlib.sha256("".join(self.versions).encode()).hexdigest()[:16] if self.versions else ""

    @property
    def warm(self) -> list[str]:
        return sorted({resident.service for resident in self._residents if resident.ready})

    @property
    def failed(self) -> dict[str, str]:
        """Services that could not be set up, and why."""
        trying = {each.service: each.keeper.failure for each in self._residents if each.keeper is not None}
        failed = self._reasons | {service: reason for service, reason in trying.items() if reason is not None}
        releases = self._parts.releases()
        return {each: why for each, why in failed.items() if subjects.pool_of(each) is None or each in releases}

    @property
    def residents(self) -> list[Resident]:
        return list(self._residents)

    @property
    def here(self) -> set[str]:
        """Services of which there is an instance, or is about to be."""
        return {resident.service for resident in self._residents}

    @property
    def active(self) -> bool:
        """Something runs, or is on its way in or out."""
        return any(each.busy or not (each.ready or each.parked) for each in self._residents)

    @property
    def inboxes(self) -> list[Ticking]:
        return [resident.keeper.inbox for resident in self._residents if resident.keeper is not None]

    def keep_least(self) -> None:
        """Have the instances that models and deployments ask for in any case."""
        now = time.monotonic()
        asked = self._least | {each: release.min_instances for each, release in self._parts.releases().items()}
        for service, least in asked.items():
            if least > len(self._of(service)) and now >= self._elsewhere.get(service, 0.0):
                self._begin(service, range(least))

    def least(self, resident: Resident) -> int:
        """How many of it there are in any case."""
        if subjects.pool_of(resident.service) is None:
            return resident.hints.min_instances
        release = self._parts.releases().get(resident.service)
        return release.min_instances if release is not None else 0

    @asynccontextmanager
    async def lent(
        self, version: str, hints: Hints, offload: Path, phase: str = phases.LOADING
    ) -> AsyncGenerator[Given]:
        """A seat for a worker that is only tried, or trains, and takes no jobs."""
        resident = Resident(version, range(1), asks=hints)
        self._residents.append(resident)
        try:
            await self._seated(resident)
            self._say(resident, phase)
            yield self.seating.given(resident, offload)
        finally:
            self._residents.remove(resident)
            self.seating.arrange()

    def learn(self, version: str, *, host: int, device: int) -> None:
        """What a worker took that was tried."""
        self._parts.needs.learn(version, host=host, device=device)

    def enlarge(self, version: str) -> bool:
        """Its seat was too small to be set up in: the next one is all there is. False: it was."""
        small = not self._parts.needs.of(version).whole
        self._parts.needs.learn(version, whole=True)
        return small

    async def close(self) -> None:
        """Give everything back and end every worker, at the same time."""
        self._closing = True
        if not self._settings.drain_seconds:
            for resident in self._residents:
                resident.hurry.set()
        mine = [resident for resident in self._residents if resident.task is not None]
        tasks = [self._leave(resident, self._settings.drain_seconds) for resident in mine]
        if tasks:
            await asyncio.wait(tasks)

    def dismiss(self) -> None:
        """Let those go that nobody needs: idle for too long, somebody else's by now, or of a release that is gone."""
        for resident in self._residents:
            keeper = resident.keeper
            if self._let_go(resident):
                self.evict(resident, "its deployment wants it no longer")
                continue
            if keeper is None or resident.leaving or resident.granted is not None:
                continue
            if resident.claim is not None and resident.claim.lost.is_set():
                self.evict(resident, "another host has it")
            elif self._idle(resident, keeper):
                self.evict(resident, "idle")

    def deepen(self) -> list[str]:
        """Services whose queue would take long, and that found no room here for one more instance."""
        deep: list[str] = []
        for resident in list(self._residents):
            if resident.ready and resident.keeper is not None:
                worth = max(DEEP, 3 * self._parts.needs.of(resident.version).load_seconds)
                if resident.keeper.backlog > worth and not self.want_more(resident.service):
                    deep.append(resident.service)
        return deep

    def park(self, resident: Resident) -> None:
        """Off its device, to make room there."""
        resident.parked = True
        self.count("parks")
        resident.moving = asyncio.get_running_loop().create_task(self._parked(resident))

    def evict(self, resident: Resident, reason: str) -> None:
        """It goes, once what it has begun has ended."""
        log.info("to be evicted", **resident.about, reason=reason)
        self.count("evictions")
        resident.evicted = True
        self._leave(resident, self._settings.run_limit)

    def _wanted(self) -> dict[str, int]:
        hints = self._parts.serving.hints()
        return {version: each.min_instances for version, each in hints.items() if each.min_instances}

    def _of(self, service: str) -> list[Resident]:
        return [resident for resident in self._residents if resident.service == service]

    def _most(self, service: str) -> int:
        """How many of it there may be in the whole fleet."""
        if subjects.pool_of(service) is not None:
            release = self._parts.releases().get(service)
            return release.max_instances if release is not None else 0
        mine = self._of(service)
        return max((each.hints.max_instances or self._settings.max_instances for each in mine), default=64)

    def _let_go(self, resident: Resident) -> bool:
        """Of a release that is gone, or has fewer instances than before."""
        if subjects.pool_of(resident.service) is None or resident.leaving or resident.task is None:
            return False
        return resident.key[1] >= self._most(resident.service)

    def _begin(self, service: str, numbers: range, *, modest: bool = False) -> bool:
        if subjects.pool_of(service) is not None:
            known = numbers.start < self._most(service)
        else:
            known = service in self.versions or _VERSION.fullmatch(service) is not None
        if self._closing or not known:
            return False
        resident = Resident(service, numbers, modest=modest)
        self._residents.append(resident)
        resident.task = asyncio.get_running_loop().create_task(self._live(resident))
        return True

    async def _live(self, resident: Resident) -> None:
        """From its being wanted until it has gone."""
        pause = 0.0
        try:
            if await self._claimed(resident):
                pause = await self._kept(resident)
        except Unavailable as error:
            pause = self._failed(resident.service, FAULT_PAUSE)
            log.warning("a version cannot be had yet", version=resident.version[:12], again_in=pause, reason=str(error))
        except Outgrown as error:
            self.enlarge(resident.version)
            log.warning("a version gets all there is", version=resident.version[:12], reason=str(error))
        except RunnerError as error:
            pause = FAULT_PAUSE
            log.warning("a version was dropped", version=resident.version[:12], reason=str(error))
        except Exception:
            pause = FAULT_PAUSE
            log.exception("a version was dropped", version=resident.version[:12])
        finally:
            await self._gone(resident, pause)

    async def _claimed(self, resident: Resident) -> bool:
        """Ours to load. A host that has to make room for it lets others go first."""
        if not await self._parts.serving.ours(resident.version):
            self._leave_alone(resident.service, NOT_OURS)
            return False
        if not self.seating.has_room(resident.version):
            await asyncio.sleep(POLITE)
        resident.claim = await self._parts.claims.take(resident.service, resident.numbers)
        if resident.claim is None:
            self._leave_alone(resident.service, LEFT_ALONE)
        return resident.claim is not None

    def _leave_alone(self, service: str, seconds: float) -> None:
        now = time.monotonic()
        self._elsewhere = {each: until for each, until in self._elsewhere.items() if until > now}
        self._elsewhere[service] = now + seconds

    async def _kept(self, resident: Resident) -> float:
        """How long to leave it alone then."""
        resident.keeper = keeper = await self._parts.serving.find(
            resident.service, lambda phase: self._say(resident, phase)
        )
        if keeper is None:
            return 0.0
        if not await self._seated(resident):
            return 0.0
        self._say(resident, phases.LOADING)
        self.count("loads")
        failures = self._failures.get(resident.service, 0)
        good = await keeper.keep(
            min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures), lambda folder: self.seating.given(resident, folder)
        )
        if good:
            self._failures.pop(resident.service, None)
            self._reasons.pop(resident.service, None)
        else:
            self._failures[resident.service] = failures + 1
            self._reasons[resident.service] = keeper.failure or ""
        return 0.0

    async def _seated(self, resident: Resident) -> bool:
        """Wait for a seat, and for those to have gone who leave for it. False: it is modest, and there is none."""
        if resident.modest and not self.seating.possible(resident):
            return False
        self._say(resident, phases.WAITING)
        await self.seating.take(resident)
        return True

    def _idle(self, resident: Resident, keeper: Keeper) -> bool:
        """For too long. One that is being loaded is not, however long that takes."""
        there = resident.ready or resident.parked
        return there and not self.seating.protected(resident) and 0 < self._idle_limit(resident) <= keeper.idle_for

    def _idle_limit(self, resident: Resident) -> float:
        """Seconds; 0: it may stay for good."""
        hint = resident.hints.idle_timeout
        limit = self._settings.idle_timeout if hint is None else hint
        return limit if resident.key[1] == 0 else min(limit or EXTRA_IDLE, EXTRA_IDLE)

    def _call_back(self, resident: Resident) -> None:
        if resident.granted is None and (resident.moving is None or resident.moving.done()):
            resident.moving = asyncio.get_running_loop().create_task(self._unpark(resident))

    async def _unpark(self, resident: Resident) -> None:
        assert resident.keeper is not None
        try:
            await self.seating.take(resident)
            resident.parked = False
            if await resident.keeper.unpark():
                self.count("unparks")
        finally:
            resident.moving = None
            self._said()

    async def _parked(self, resident: Resident) -> None:
        assert resident.keeper is not None
        try:
            await resident.keeper.park()
        finally:
            resident.moving = None
            self._said()
            self._parts.left()

    def _leave(self, resident: Resident, drain: float) -> asyncio.Task[None]:
        """What has begun gets so many seconds."""
        assert resident.task is not None
        if resident.paused:
            resident.hurry.set()
        elif not resident.leaving:
            resident.leaving = True
            resident.drain = drain
            if resident.moving is not None:
                resident.moving.cancel()
            resident.task.cancel()
        return resident.task

    async def _gone(self, resident: Resident, pause: float) -> None:
        """Its worker, its seat, its claim, and at last itself."""
        resident.leaving, began = True, time.monotonic()
        try:
            if resident.keeper is not None:
                self._said()
                await resident.keeper.close(resident.drain, resident.hurry)
        except Exception:
            log.exception("a version did not leave well", version=resident.version[:12])
        finally:
            if resident.evicted:
                log.info("evicted", **resident.about, seconds=round(time.monotonic() - began, 3))
            resident.seat = None
            resident.paused = True
            self.seating.arrange()
            if resident.claim is not None:
                await self._parts.claims.release(resident.claim)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await resident.hurry.wait()
            self._residents.remove(resident)
            if resident.keeper is not None:
                self._said()
                self._parts.left()

    def _failed(self, service: str, first: float) -> float:
        failures = self._failures[service] = self._failures.get(service, 0) + 1
        return min(LONGEST_PAUSE, first * 2 ** (failures - 1))

    def _say(self, resident: Resident, phase: str) -> None:
        resident.say(phase)
        self._said()

    def _said(self) -> None:
        self.changed.set()
