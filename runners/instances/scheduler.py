"""Who has which seat on this host, and who waits for one."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import structs

from runners import units
from runners.instances.slot import Resident
from runners.placement import limits, planner
from runners.placement import memory_profiles as needs
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints, Needs
from runners.placement.planner import Host, Need, Plan, Seat, Sitting
from runners.process import memory
from runners.settings import Settings

LEARNING: Final = 10.0  # seconds to wait, rather than to have others leave, for one that is being measured


class Ushers(Protocol):
    """What is asked of those who have to make room."""

    def park(self, resident: Resident) -> None: ...
    def evict(self, resident: Resident, reason: str) -> None: ...
    def least(self, resident: Resident) -> int: ...


class Seating:
    def __init__(
        self,
        host: Host,
        settings: Settings,
        needs: Needs,
        hints: Callable[[], Mapping[str, Hints]],
        ushers: Ushers,
    ) -> None:
        self.host = host
        self.residents: list[Resident] = []
        self._settings = settings
        self._needs = needs
        self._hints = hints
        """What models of this host's own folders say of themselves, by version."""
        self._ushers = ushers

    async def take(self, resident: Resident) -> None:
        """Wait for a seat, and for those to have gone who leave for it."""
        await self._room(resident, await self._asked(resident))

    def possible(self, resident: Resident) -> bool:
        """There is a seat for it just now."""
        return self._planned(resident, force=False) is not None

    def arrange(self) -> None:
        """Give seats to those who wait for one, in the order in which they came, as far as there is room."""
        for resident in sorted(self.residents, key=lambda each: each.asked_at):
            if resident.granted is None or resident.granted.done():
                continue
            patience = time.monotonic() - resident.asked_at
            plan = self._planned(resident, force=patience > self._settings.turn_limit)
            if plan is not None and not (_disturbs(plan) and self._learning and patience < LEARNING):
                self._grant(resident, plan)
            elif patience > self._settings.turn_limit:
                return  # or those who need less would always come first

    def has_room(self, version: str) -> bool:
        """For one more instance, without anybody leaving."""
        return planner.plan(self.host, self._sitting(leavable=False), self._need(version)) is not None

    def used(self, service: str) -> set[str]:
        """Devices that have it."""
        mine = (each.seat for each in self.residents if each.service == service)
        return {name for seat in mine if seat is not None for name in seat.device}

    def protected(self, resident: Resident) -> bool:
        """As many are asked for in any case."""
        return resident.key[1] < self._ushers.least(resident)

    def given(self, resident: Resident, offload: Path) -> Given:
        assert resident.seat is not None
        others = self._sitting(but=resident)
        given = limits.given(self.host, resident.seat, others, self._settings, offload)
        if self.host.kind != planner.CPU:
            return given
        return structs.replace(given, wall=self.limit(resident, self.spare))

    def limit(self, resident: Resident, spare: int) -> int:
        """Bytes that it may allocate just now: its seat, what nobody was given, and a little that is never touched."""
        assert resident.seat is not None
        return resident.seat.host + spare + memory.slack(self.host.limit)

    @property
    def spare(self) -> int:
        """Bytes that nobody was given."""
        return max(0, planner.free(self.host, self._sitting(leavable=False)))

    def grow(self, resident: Resident, size: int, *, push: bool) -> bool:
        """Give it a seat for so many bytes, and some to spare, or for just as many: of what nobody was given, or, if it
        may `push`, of what idle ones have. False: there is too little.
        """
        assert resident.seat is not None
        sitting = self._sitting(leavable=push, but=resident)
        wanted = (min(int(size * needs.SPARE), self.host.memory), size)
        plans = (planner.within(self.host, sitting, Seat(host=each, device={})) for each in wanted if each >= size)
        plan = next((found for found in plans if found is not None), None)
        if plan is None:
            return False
        by_key = {each.key: each for each in self.residents if each.seat is not None}
        for key in (*plan.parked, *plan.evicted):
            self._ushers.evict(by_key[key], f"for {resident.version[:12]}, which grew to {units.said(size)}")
        cpu = self.host.kind == planner.CPU
        device = {name: min(size, self.host.device(name).memory) for name in resident.seat.device}
        resident.seat = Seat(host=plan.seat.host, device=device if cpu else resident.seat.device)
        return True

    def shrink(self, resident: Resident) -> None:
        """Give it the seat that it is known to need by now, if that is smaller."""
        assert resident.seat is not None
        need = self._need(resident.version, resident.hints)
        cpu = self.host.kind == planner.CPU
        device = {
            name: min(size, need.host if cpu else need.device) if not need.whole else size
            for name, size in resident.seat.device.items()
        }
        resident.seat = Seat(host=min(resident.seat.host, need.host), device=device)
        self.arrange()

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
            return planner.back(self.host, [*sitting, self._as_sitting(resident, leavable=False)], resident.key)
        host = self.host
        used = self.used(resident.service)
        if used and len(host.devices) > len(used):
            host = structs.replace(host, devices=tuple(each for each in host.devices if each.name not in used))
        plan = planner.plan(host, sitting, self._need(resident.version, resident.hints))
        if plan is None or _disturbs(plan) or self._measured(resident):
            return plan
        # It may well be larger than one would guess: what is free is its own until that is known.
        spare = min(planner.free(host, sitting), needs.GUESS) - plan.seat.host
        return structs.replace(plan, seat=planner.larger(host, plan.seat, max(0, spare)))

    @property
    def _learning(self) -> bool:
        """One is being loaded that nobody has measured: what it was given beyond its need is soon there for others."""
        return any(
            each.seat and not each.ready and not each.leaving and not self._measured(each) for each in self.residents
        )

    def _measured(self, resident: Resident) -> bool:
        return resident.hints.memory is not None or self._needs.of(resident.version).host > 0

    def _grant(self, resident: Resident, plan: Plan) -> None:
        assert resident.granted is not None
        by_key = {each.key: each for each in self.residents if each.seat is not None}
        for key in plan.parked:
            self._ushers.park(by_key[key])
        for key in plan.evicted:
            self._ushers.evict(by_key[key], f"for {resident.version[:12]}")
        resident.seat = plan.seat
        resident.granted.set_result(plan)

    async def _room(self, resident: Resident, plan: Plan) -> None:
        """Wait until whoever is on the way out is out, if there would not be room beside them."""
        while True:
            sitting = self._sitting(leavable=False, but=resident, leaving=True)
            held = planner.occupied_bytes(self.host, sitting, plan.seat)
            beside = all(held[name] + size <= self.host.device(name).memory for name, size in plan.seat.device.items())
            if beside and planner.free(self.host, sitting) >= plan.seat.host:
                return
            going = [task for each in self.residents if each is not resident and (task := each.going)]
            if not going:
                return
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)

    def _sitting(
        self, *, leavable: bool = True, force: bool = False, but: Resident | None = None, leaving: bool = False
    ) -> list[Sitting]:
        """Who has a seat; with `leaving`, also those who are on their way out and have not gone yet."""
        return [
            self._as_sitting(each, leavable=leavable and self._leavable(each, force=force), staying=leaving)
            for each in self.residents
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
        if not (resident.parked or resident.ready) or self.protected(resident):
            return False
        stayed = time.monotonic() - resident.keeper.ready_at
        if resident.busy:
            return force and stayed >= self._settings.turn_limit
        # As long as loading it took: so no more than half of the time goes into loading, whoever takes turns.
        return resident.parked or stayed >= min(self._settings.min_residency, resident.keeper.load_seconds)

    def _need(self, version: str, hints: Hints | None = None) -> Need:
        known = hints if hints is not None else self._hints().get(version, Hints())
        return needs.need(self.host, known, self._needs.of(version), self._needs.guess())


def _disturbs(plan: Plan) -> bool:
    return bool(plan.parked or plan.evicted)
