"""Which versions have instances here: who is wanted gets a seat, and others leave for it."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct, structs

from runners import memory, needs, phases, placement, seats, sizes
from runners.claims import Claim
from runners.errors import Outgrown, RunnerError, Unavailable
from runners.needs import Hints, Needs
from runners.placement import Host, Key, Need, Plan, Seat, Sitting
from runners.seats import Given
from runners.settings import Settings

log = structlog.stdlib.get_logger()

FIRST_PAUSE: Final = 10.0  # seconds for which a version whose set-up failed is not tried again
LONGEST_PAUSE: Final = 300.0
RETIRING: Final = 30.0  # seconds in which jobs of a deleted version end, which are told to by a gateway
FAULT_PAUSE: Final = 1.0  # before a version that a fault of ours dropped is tried again here; others may take its jobs
POLITE: Final = 0.1  # seconds that a host waits which has to make room, for one that has some
LEFT_ALONE: Final = 1.0  # seconds for which a version is not asked for again that another host has
LEARNING: Final = 10.0  # seconds to wait, rather than to have others leave, for one that is being measured
EXTRA_IDLE: Final = 60.0  # seconds without work after which an instance beside the first one goes
DEEP: Final = 2.0  # seconds of work in a queue from which on another instance is worth while

COUNTED: Final = ("loads", "parks", "unparks", "evictions", "replaced", "killed")

_VERSION: Final = re.compile("[0-9a-f]{64}")


class Ticking(Protocol):
    async def tick(self) -> None: ...
    def lose(self) -> None: ...


class Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def hints(self) -> Hints: ...


class Keeper(Protocol):
    """What a pool needs of an instance."""

    @property
    def inbox(self) -> Ticking: ...
    @property
    def model(self) -> Named: ...

    ready: bool
    """It takes jobs."""
    ready_at: float
    """Since when, as `time.monotonic` counts."""
    parkable: bool
    device_bytes: int

    @property
    def pid(self) -> int | None:
        """None: it has no process, or not yet."""
        ...

    @property
    def busy(self) -> bool: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def backlog(self) -> float: ...
    @property
    def largest(self) -> int: ...
    @property
    def load_seconds(self) -> float: ...
    @property
    def idle_for(self) -> float: ...

    async def keep(self, pause: float, given: Callable[[Path], Given]) -> bool: ...
    async def close(self, drain: float, hurry: asyncio.Event) -> None: ...
    async def park(self) -> bool: ...
    async def unpark(self) -> bool: ...
    def replace(self, reason: str) -> None: ...
    def kill(self, reason: str) -> None: ...


class Finding(Protocol):
    """Where versions come from."""

    async def ours(self, version: str) -> bool: ...
    async def find(self, version: str, say: Callable[[str], None]) -> Keeper | None: ...
    def hints(self) -> Mapping[str, Hints]: ...


class Claiming(Protocol):
    async def take(self, version: str, numbers: range) -> Claim | None: ...
    async def release(self, claim: Claim) -> None: ...


class Resident:
    """An instance from its being wanted until it has gone; owned by the pool."""

    def __init__(self, version: str, numbers: range, *, modest: bool = False, asks: Hints | None = None) -> None:
        self.version = version
        self.numbers = numbers
        """Those that it may be."""
        self.modest = modest
        """Nobody leaves for it."""
        self.asks = asks
        """What its model says of itself, where there is no keeper to ask."""
        self.since = datetime.now(UTC)
        self.phase = phases.LOADING
        self.task: asyncio.Task[None] | None = None
        self.claim: Claim | None = None
        self.keeper: Keeper | None = None
        self.seat: Seat | None = None
        self.asked_at = 0.0
        """When it asked for a seat that it has not been given yet."""
        self.granted: asyncio.Future[Plan] | None = None
        self.parked = False
        self.moving: asyncio.Task[None] | None = None
        """On its way off its device, or back."""
        self.leaving = False
        self.evicted = False
        self.drain = 0.0
        """Seconds that what has begun gets once it has to go."""
        self.hurry = asyncio.Event()
        """What is waited for on its way out is waited for no longer."""
        self.paused = False
        """Nothing of it is left but the wish not to try again at once."""
        self.resident = 0
        """Bytes, when last looked."""
        self.replaced: int | None = None
        """The process that is being replaced."""

    @property
    def key(self) -> Key:
        return self.version, self.numbers.start if self.claim is None else self.claim.number

    @property
    def hints(self) -> Hints:
        return self.keeper.model.hints if self.keeper is not None else self.asks or Hints()

    @property
    def ready(self) -> bool:
        return self.keeper is not None and self.keeper.ready and not self.leaving

    @property
    def busy(self) -> bool:
        return self.keeper is not None and (self.keeper.busy or self.keeper.waiting > 0)

    def say(self, phase: str) -> None:
        self.phase = phase


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
        self._host = parts.host
        self._settings = parts.settings
        self._residents: list[Resident] = []
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
        used = {name for each in mine if each.seat is not None for name in each.seat.device}
        if any(each.seat is None for each in mine) or len(used) >= len(self._host.devices):
            return False
        if not self._has_room(version):
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
        for version, hints in self._parts.serving.hints().items():
            if hints.min_instances > len(self._of(version)):
                self._begin(version, range(hints.min_instances))

    @asynccontextmanager
    async def lent(self, version: str, hints: Hints, offload: Path) -> AsyncGenerator[Given]:
        """A seat for a worker that is only tried, and takes no jobs."""
        resident = Resident(version, range(1), asks=hints)
        self._residents.append(resident)
        try:
            await self._seated(resident)
            yield self._given(resident, offload)
        finally:
            self._residents.remove(resident)
            self.arrange()

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

    def arrange(self) -> None:
        """Give seats to those who wait for one, in the order in which they came, as far as there is room."""
        for resident in sorted(self._residents, key=lambda each: each.asked_at):
            if resident.granted is None or resident.granted.done():
                continue
            patience = time.monotonic() - resident.asked_at
            plan = self._planned(resident, force=patience > self._settings.turn_limit)
            if plan is not None and not (self._disturbs(plan) and self._learning and patience < LEARNING):
                self._grant(resident, plan)
            elif patience > self._settings.turn_limit:
                return  # or those who need less would always come first

    def dismiss(self) -> None:
        """Let those go that nobody needs: idle for too long, or somebody else's by now."""
        for resident in self._residents:
            keeper = resident.keeper
            if keeper is None or resident.leaving or resident.granted is not None:
                continue
            if resident.claim is not None and resident.claim.lost.is_set():
                self._evict(resident, "another host has it")
            elif not self._protected(resident) and 0 < self._idle_limit(resident) <= keeper.idle_for:
                self._evict(resident, "idle")

    def deepen(self) -> list[str]:
        """Versions whose queue would take long, and that found no room here for one more instance."""
        deep: list[str] = []
        for resident in list(self._residents):
            if resident.ready and resident.keeper is not None:
                worth = max(DEEP, 3 * self._parts.needs.of(resident.version).load_seconds)
                if resident.keeper.backlog > worth and not self.want_more(resident.version):
                    deep.append(resident.version)
        return deep

    def _of(self, version: str) -> list[Resident]:
        return [resident for resident in self._residents if resident.version == version]

    def _has_room(self, version: str) -> bool:
        """Without anybody leaving."""
        return placement.plan(self._host, self._sitting(leavable=False), self._need(version)) is not None

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
        if not self._has_room(resident.version):
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
            min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures), lambda folder: self._given(resident, folder)
        )
        if good:
            self._failures.pop(resident.version, None)
        else:
            self._failures[resident.version] = failures + 1
        return 0.0

    async def _seated(self, resident: Resident) -> bool:
        """Wait for a seat, and for those to have gone who leave for it. False: it is modest, and there is none."""
        if resident.modest and self._planned(resident, force=False) is None:
            return False
        self._say(resident, phases.WAITING)
        plan = await self._asked(resident)
        await self._room(resident, plan)
        return True

    async def _asked(self, resident: Resident) -> Plan:
        resident.asked_at = time.monotonic()
        resident.granted = asyncio.get_running_loop().create_future()
        self.arrange()
        try:
            return await resident.granted
        finally:
            resident.granted = None
            resident.asked_at = 0.0

    def _planned(self, resident: Resident, *, force: bool) -> Plan | None:
        sitting = self._sitting(leavable=not resident.modest, force=force, but=resident)
        if resident.parked and resident.seat is not None:
            return placement.back(self._host, [*sitting, self._as_sitting(resident, leavable=False)], resident.key)
        host = self._host
        used = {name for each in self._of(resident.version) if each.seat for name in each.seat.device}
        if used and len(host.devices) > len(used):
            host = structs.replace(host, devices=tuple(each for each in host.devices if each.name not in used))
        plan = placement.plan(host, sitting, self._need(resident.version, resident.hints))
        if plan is None or self._disturbs(plan) or self._measured(resident):
            return plan
        # It may well be larger than one would guess: what is free is its own until that is known.
        spare = min(placement.free(host, sitting), needs.GUESS) - plan.seat.host
        return structs.replace(plan, seat=placement.larger(host, plan.seat, max(0, spare)))

    @property
    def _learning(self) -> bool:
        """One is being loaded that nobody has measured: what it was given beyond its need is soon there for others."""
        return any(
            each.seat and not each.ready and not each.leaving and not self._measured(each) for each in self._residents
        )

    def _disturbs(self, plan: Plan) -> bool:
        return bool(plan.parked or plan.evicted)

    def _measured(self, resident: Resident) -> bool:
        return resident.hints.memory is not None or self._parts.needs.of(resident.version).host > 0

    def _grant(self, resident: Resident, plan: Plan) -> None:
        assert resident.granted is not None
        by_key = {each.key: each for each in self._residents if each.seat is not None}
        for key in plan.parked:
            self._park(by_key[key])
        for key in plan.evicted:
            self._evict(by_key[key], f"for {resident.version[:12]}")
        resident.seat = plan.seat
        resident.granted.set_result(plan)

    async def _room(self, resident: Resident, plan: Plan) -> None:
        """Wait until whoever is on the way out is out, if there would not be room beside them."""
        while True:
            sitting = self._sitting(leavable=False, but=resident, leaving=True)
            held = placement.taken(self._host, sitting, plan.seat)
            beside = all(held[name] + size <= self._host.device(name).memory for name, size in plan.seat.device.items())
            if beside and placement.free(self._host, sitting) >= plan.seat.host:
                return
            going = [task for each in self._residents if each is not resident and (task := _going(each))]
            if not going:
                return
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)

    def _sitting(
        self, *, leavable: bool = True, force: bool = False, but: Resident | None = None, leaving: bool = False
    ) -> list[Sitting]:
        """Who has a seat; with `leaving`, also those who are on their way out and have not gone yet."""
        return [
            self._as_sitting(each, leavable=leavable and self._leavable(each, force=force), staying=leaving)
            for each in self._residents
            if each is not but and each.seat is not None and (leaving or not each.leaving)
        ]

    def _as_sitting(self, resident: Resident, *, leavable: bool, staying: bool = False) -> Sitting:
        assert resident.seat is not None
        keeper = resident.keeper
        parked = resident.parked and not (staying and resident.moving is not None)
        return Sitting(
            key=resident.key,
            seat=resident.seat,
            used_at=time.monotonic() - (keeper.idle_for if keeper is not None else 0.0),
            leavable=leavable,
            parked=parked,
            parkable=keeper is not None and keeper.parkable and not resident.busy,
        )

    def _leavable(self, resident: Resident, *, force: bool) -> bool:
        """Nothing runs or waits in it, and it has been here for a while. `force`: it has had its turn."""
        if resident.keeper is None or resident.granted is not None or resident.moving is not None:
            return False
        if not (resident.parked or resident.ready) or self._protected(resident):
            return False
        stayed = time.monotonic() - resident.keeper.ready_at
        if resident.busy:
            return force and stayed >= self._settings.turn_limit
        # As long as loading it took: so no more than half of the time goes into loading, whoever takes turns.
        return resident.parked or stayed >= min(self._settings.min_residency, resident.keeper.load_seconds)

    def _protected(self, resident: Resident) -> bool:
        return resident.key[1] < resident.hints.min_instances

    def _idle_limit(self, resident: Resident) -> float:
        """Seconds; 0: it may stay for good."""
        hint = resident.hints.idle_timeout
        limit = self._settings.idle_timeout if hint is None else hint
        return limit if resident.key[1] == 0 else min(limit or EXTRA_IDLE, EXTRA_IDLE)

    def _need(self, version: str, hints: Hints | None = None) -> Need:
        known = hints if hints is not None else self._parts.serving.hints().get(version, Hints())
        return needs.need(self._host, known, self._parts.needs.of(version), self._parts.needs.guess())

    def _given(self, resident: Resident, offload: Path) -> Given:
        assert resident.seat is not None
        others = self._sitting(but=resident)
        given = seats.given(self._host, resident.seat, others, self._settings, offload)
        return structs.replace(given, wall=self.limit(resident)) if self._host.kind == placement.CPU else given

    def limit(self, resident: Resident) -> int:
        """Bytes that it may allocate just now: its seat, what nobody was given, and a little that is never touched."""
        assert resident.seat is not None
        spare = max(0, placement.free(self._host, self._sitting()))
        return resident.seat.host + spare + memory.slack(self._host.limit)

    def grow(self, resident: Resident, size: int, *, push: bool) -> bool:
        """Give it more of the host's memory: what nobody was given, or, if it may `push`, what idle ones have."""
        assert resident.seat is not None
        plan = placement.within(
            self._host, self._sitting(leavable=push, but=resident), Seat(host=min(size, self._host.memory), device={})
        )
        if plan is None:
            return False
        by_key = {each.key: each for each in self._residents if each.seat is not None}
        for key in (*plan.parked, *plan.evicted):
            self._evict(by_key[key], f"for {resident.version[:12]}, which grew to {sizes.said(size)}")
        cpu = self._host.kind == placement.CPU
        device = {name: min(size, self._host.device(name).memory) for name in resident.seat.device}
        resident.seat = Seat(host=plan.seat.host, device=device if cpu else resident.seat.device)
        return True

    def shrink(self, resident: Resident) -> None:
        """Give it the seat that it is known to need by now, if that is smaller."""
        assert resident.seat is not None
        need = self._need(resident.version, resident.hints)
        cpu = self._host.kind == placement.CPU
        device = {
            name: min(size, need.host if cpu else need.device) if not need.whole else size
            for name, size in resident.seat.device.items()
        }
        resident.seat = Seat(host=min(resident.seat.host, need.host), device=device)
        self.arrange()

    def _call_back(self, resident: Resident) -> None:
        if resident.granted is None and (resident.moving is None or resident.moving.done()):
            resident.moving = asyncio.get_running_loop().create_task(self._unpark(resident))

    async def _unpark(self, resident: Resident) -> None:
        assert resident.keeper is not None
        try:
            plan = await self._asked(resident)
            await self._room(resident, plan)
            resident.parked = False
            if await resident.keeper.unpark():
                self.count("unparks")
        finally:
            resident.moving = None
            self._said()

    def _park(self, resident: Resident) -> None:
        resident.parked = True
        self.count("parks")
        resident.moving = asyncio.get_running_loop().create_task(self._parked(resident))

    async def _parked(self, resident: Resident) -> None:
        assert resident.keeper is not None
        try:
            await resident.keeper.park()
        finally:
            resident.moving = None
            self._said()
            self._parts.left()

    def _evict(self, resident: Resident, reason: str) -> None:
        log.info("to be evicted", **_about(resident), reason=reason)
        self.count("evictions")
        resident.evicted = True
        self._leave(resident, self._settings.run_limit)

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
                log.info("evicted", **_about(resident), seconds=round(time.monotonic() - began, 3))
            resident.seat = None
            resident.paused = True
            self.arrange()
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


def _about(resident: Resident) -> dict[str, object]:
    name = resident.keeper.model.name if resident.keeper is not None else ""
    return {"model": name, "version": resident.version[:12], "number": resident.key[1]}


def _going(resident: Resident) -> asyncio.Task[None] | None:
    if resident.leaving:
        return resident.task
    return resident.moving if resident.parked else None
