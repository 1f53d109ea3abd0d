"""Which versions have instances here, from their being wanted until they have gone."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct

from runners import phases
from runners.claims import Claim
from runners.errors import Outgrown, RunnerError, Unavailable
from runners.needs import Hints, Needs
from runners.placement import Host
from runners.residents import Keeper, Resident, Ticking
from runners.seating import Seating
from runners.seats import Given
from runners.settings import Settings

log = structlog.stdlib.get_logger()

FIRST_PAUSE: Final = 10.0  # seconds for which a version whose set-up failed is not tried again
LONGEST_PAUSE: Final = 300.0
RETIRING: Final = 30.0  # seconds in which jobs of a deleted version end, which are told to by a gateway
FAULT_PAUSE: Final = 1.0  # before a version that a fault of ours dropped is tried again here; others may take its jobs
POLITE: Final = 0.1  # seconds that a host waits which has to make room, for one that has some
LEFT_ALONE: Final = 1.0  # seconds for which a version is not asked for again that another host has
EXTRA_IDLE: Final = 60.0  # seconds without work after which an instance beside the first one goes
DEEP: Final = 2.0  # seconds of work in a queue from which on another instance is worth while

COUNTED: Final = ("loads", "parks", "unparks", "evictions", "replaced", "killed")

_VERSION: Final = re.compile("[0-9a-f]{64}")


class Finding(Protocol):
    """Where versions come from."""

    async def ours(self, version: str) -> bool: ...
    async def find(self, version: str, say: Callable[[str], None]) -> Keeper | None: ...
    def hints(self) -> Mapping[str, Hints]: ...


class Claiming(Protocol):
    async def take(self, version: str, numbers: range) -> Claim | None: ...
    async def release(self, claim: Claim) -> None: ...


class Parts(Struct, frozen=True, kw_only=True):
    host: Host
    settings: Settings
    serving: Finding
    claims: Claiming
    needs: Needs
    left: Callable[[], None]
    """A version has gone, and what waits for it may be anybody's."""


class Pool:
    def __init__(self, versions: Iterable[str], parts: Parts) -> None:
        self._versions = set(versions)
        self._parts = parts
        self._settings = parts.settings
        self.seating = Seating(parts.host, parts.settings, parts.needs, parts.serving.hints, self)
        self._residents = self.seating.residents
        self._failures: dict[str, int] = {}
        self._elsewhere: dict[str, float] = {}
        """Until when a version is left to the host that has claimed it: every create of a cold one wakes all hosts."""
        self._closing = False
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.changed = asyncio.Event()
        """Set when something became warm or cold, or when more is offered."""

    def want(self, version: str) -> None:
        """There is work for it: have it here, unless it is or cannot be ours."""
        mine = self._of(version)
        for resident in mine:
            if resident.parked and not resident.leaving:
                self._call_back(resident)
        if not mine and time.monotonic() >= self._elsewhere.get(version, 0.0):
            self._begin(version, range(1))

    def want_more(self, version: str) -> bool:
        """Its queue is deep: one more instance, on a device that has none of it. False: there is no room."""
        mine = self._of(version)
        devices = len(self._parts.host.devices)
        if any(each.seat is None for each in mine) or len(self.seating.used(version)) >= devices:
            return False
        if not self.seating.has_room(version):
            return False
        most = max((each.hints.max_instances or self._settings.max_instances for each in mine), default=64)
        return most > 1 and self._begin(version, range(1, most), modest=True)

    def offer(self, version: str) -> None:
        """From now on it is said to be here."""
        self._versions.add(version)
        self._said()

    async def retire(self, version: str) -> None:
        """It was deleted: what runs may come to its end, the rest goes back. Done once nothing of it is left."""
        if version not in self._versions:
            tasks = [self._leave(resident, RETIRING) for resident in self._of(version) if resident.task is not None]
            if tasks:
                await asyncio.wait(tasks)
        self._failures.pop(version, None)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    @property
    def versions(self) -> list[str]:
        return sorted(self._versions)

    @property
    def warm(self) -> list[str]:
        return sorted({resident.version for resident in self._residents if resident.ready})

    @property
    def residents(self) -> list[Resident]:
        return list(self._residents)

    @property
    def here(self) -> set[str]:
        """Versions of which there is an instance, or is about to be."""
        return {resident.version for resident in self._residents}

    @property
    def active(self) -> bool:
        """Something runs, or is on its way in or out."""
        return any(each.busy or not (each.ready or each.parked) for each in self._residents)

    @property
    def inboxes(self) -> list[Ticking]:
        return [resident.keeper.inbox for resident in self._residents if resident.keeper is not None]

    def keep_least(self) -> None:
        """Have the instances that models ask for in any case."""
        now = time.monotonic()
        for version, hints in self._parts.serving.hints().items():
            if hints.min_instances > len(self._of(version)) and now >= self._elsewhere.get(version, 0.0):
                self._begin(version, range(hints.min_instances))

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
        """Let those go that nobody needs: idle for too long, or somebody else's by now."""
        for resident in self._residents:
            keeper = resident.keeper
            if keeper is None or resident.leaving or resident.granted is not None:
                continue
            if resident.claim is not None and resident.claim.lost.is_set():
                self.evict(resident, "another host has it")
            elif self._idle(resident, keeper):
                self.evict(resident, "idle")

    def deepen(self) -> list[str]:
        """Versions whose queue would take long, and that found no room here for one more instance."""
        deep: list[str] = []
        for resident in list(self._residents):
            if resident.ready and resident.keeper is not None:
                worth = max(DEEP, 3 * self._parts.needs.of(resident.version).load_seconds)
                if resident.keeper.backlog > worth and not self.want_more(resident.version):
                    deep.append(resident.version)
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

    def _of(self, version: str) -> list[Resident]:
        return [resident for resident in self._residents if resident.version == version]

    def _begin(self, version: str, numbers: range, *, modest: bool = False) -> bool:
        if self._closing or not (version in self._versions or _VERSION.fullmatch(version)):
            return False
        resident = Resident(version, numbers, modest=modest)
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
            pause = self._failed(resident.version, FAULT_PAUSE)
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
            return False
        if not self.seating.has_room(resident.version):
            await asyncio.sleep(POLITE)
        resident.claim = await self._parts.claims.take(resident.version, resident.numbers)
        if resident.claim is None:
            self._elsewhere = {version: until for version, until in self._elsewhere.items() if until > time.monotonic()}
            self._elsewhere[resident.version] = time.monotonic() + LEFT_ALONE
        return resident.claim is not None

    async def _kept(self, resident: Resident) -> float:
        """How long to leave it alone then."""
        resident.keeper = keeper = await self._parts.serving.find(
            resident.version, lambda phase: self._say(resident, phase)
        )
        if keeper is None:
            return 0.0
        if not await self._seated(resident):
            return 0.0
        self._say(resident, phases.LOADING)
        self.count("loads")
        failures = self._failures.get(resident.version, 0)
        good = await keeper.keep(
            min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures), lambda folder: self.seating.given(resident, folder)
        )
        if good:
            self._failures.pop(resident.version, None)
        else:
            self._failures[resident.version] = failures + 1
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

    def _failed(self, version: str, first: float) -> float:
        failures = self._failures[version] = self._failures.get(version, 0) + 1
        return min(LONGEST_PAUSE, first * 2 ** (failures - 1))

    def _say(self, resident: Resident, phase: str) -> None:
        resident.say(phase)
        self._said()

    def _said(self) -> None:
        self.changed.set()
