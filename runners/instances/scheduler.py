"""The scheduler of this host: which instance has which slot, and which ones wait for one."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import structs

from runners import units
from runners.instances.pool_entry import PoolEntry
from runners.placement import limits, memory_profiles, planner
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints, MemoryProfiles
from runners.placement.planner import Host, MemoryNeed, PlacedInstance, Plan, Slot
from runners.process import memory
from runners.settings import Settings

MEASURING_SECONDS: Final = 10.0  # to wait for one that is being measured, rather than to have others leave


class Evictor(Protocol):
    """The pool, which moves instances out of the way."""

    def park(self, entry: PoolEntry) -> None: ...
    def evict(self, entry: PoolEntry, reason: str) -> None: ...
    def min_instances(self, entry: PoolEntry) -> int: ...


class Scheduler:
    """The assignment of this host's memory and devices to instances.

    It owns the list of the pool's entries and their slots. Where and for whom is decided by the pure planner
    (`runners.placement.planner`); the pool and the monitor use it.
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        profiles: MemoryProfiles,
        hints: Callable[[], Mapping[str, Hints]],
        evictor: Evictor,
    ) -> None:
        """`hints` returns those of local models, by version."""
        self.host = host
        self.entries: list[PoolEntry] = []
        self._settings = settings
        self._profiles = profiles
        self._hints = hints
        self._evictor = evictor

    async def wait_for_slot(self, entry: PoolEntry) -> None:
        """Wait for a slot, and for the instances that leave for it to be gone."""
        plan = await self._request_slot(entry)
        await self._wait_until_free(entry, plan)

    def has_slot_now(self, entry: PoolEntry) -> bool:
        """Return whether there is a slot for it just now."""
        return self._plan(entry, force=False) is not None

    def assign_slots(self) -> None:
        """Assign slots to the entries that wait, in the order in which they came, as far as there is room."""
        for entry in sorted(self.entries, key=lambda each: each.waiting_since):
            if entry.grant is None or entry.grant.done():
                continue
            waited = time.monotonic() - entry.waiting_since
            plan = self._plan(entry, force=waited > self._settings.turn_limit)
            if plan is not None and not (_moves_others(plan) and self._is_measuring and waited < MEASURING_SECONDS):
                self._grant(entry, plan)
            elif waited > self._settings.turn_limit:
                return  # or those that need less would always come first

    def has_room(self, version: str) -> bool:
        """Return whether one more instance fits without any other leaving."""
        return planner.plan_slot(self.host, self._placed(can_leave=False), self._need(version)) is not None

    def devices_of(self, service: str) -> set[str]:
        """Return the names of the devices that a service's instances use."""
        slots = (each.slot for each in self.entries if each.service == service)
        return {name for slot in slots if slot is not None for name in slot.device}

    def is_protected(self, entry: PoolEntry) -> bool:
        """Return whether it is among the instances that are wanted in any case."""
        return entry.key[1] < self._evictor.min_instances(entry)

    def worker_limits(self, entry: PoolEntry, offload: Path) -> WorkerLimits:
        """Return the limits of a worker in this entry's slot."""
        assert entry.slot is not None
        others = self._placed(without=entry)
        worker_limits = limits.worker_limits(self.host, entry.slot, others, self._settings, offload)
        if self.host.kind != planner.CPU:
            return worker_limits
        return structs.replace(worker_limits, memory_limit=self.memory_limit(entry, self.free_bytes))

    def memory_limit(self, entry: PoolEntry, free: int) -> int:
        """Return the bytes that it may allocate now: its slot, what is free, and some slack that is never touched."""
        assert entry.slot is not None
        return entry.slot.host + free + memory.slack_bytes(self.host.limit)

    @property
    def free_bytes(self) -> int:
        """The bytes of the host's memory that no slot has."""
        return max(0, planner.free_bytes(self.host, self._placed(can_leave=False)))

    def grow(self, entry: PoolEntry, size: int, *, may_evict: bool) -> bool:
        """Give it a slot of `size` bytes, with some headroom if possible; return False if there is too little memory.

        The memory comes from what is free or, if it `may_evict`, from idle instances.
        """
        assert entry.slot is not None
        placed = self._placed(can_leave=may_evict, without=entry)
        sizes = (min(int(size * memory_profiles.HEADROOM), self.host.memory), size)
        plans = (planner.plan_in_slot(self.host, placed, Slot(host=each, device={})) for each in sizes if each >= size)
        plan = next((each for each in plans if each is not None), None)
        if plan is None:
            return False
        entries = self._by_key()
        for key in (*plan.to_park, *plan.to_evict):
            self._evictor.evict(entries[key], f"for {entry.version[:12]}, which grew to {units.format_bytes(size)}")
        on_cpu = self.host.kind == planner.CPU
        device = {name: min(size, self.host.device(name).memory) for name in entry.slot.device}
        entry.slot = Slot(host=plan.slot.host, device=device if on_cpu else entry.slot.device)
        return True

    def shrink(self, entry: PoolEntry) -> None:
        """Give it the slot that it is now known to need, if that is smaller."""
        assert entry.slot is not None
        need = self._need(entry.version, entry.hints)
        on_cpu = self.host.kind == planner.CPU
        device = {
            name: min(size, need.host if on_cpu else need.device) if not need.needs_all_devices else size
            for name, size in entry.slot.device.items()
        }
        entry.slot = Slot(host=min(entry.slot.host, need.host), device=device)
        self.assign_slots()

    async def _request_slot(self, entry: PoolEntry) -> Plan:
        entry.waiting_since = time.monotonic()
        entry.grant = asyncio.get_running_loop().create_future()
        self.assign_slots()
        try:
            return await entry.grant
        finally:
            entry.grant = None
            entry.waiting_since = 0.0

    def _plan(self, entry: PoolEntry, *, force: bool) -> Plan | None:
        placed = self._placed(can_leave=not entry.only_if_free, force=force, without=entry)
        if entry.is_parked and entry.slot is not None:
            return planner.plan_return(self.host, [*placed, self._as_placed(entry, can_leave=False)], entry.key)
        host = self.host
        used = self.devices_of(entry.service)
        if used and len(host.devices) > len(used):
            host = structs.replace(host, devices=tuple(each for each in host.devices if each.name not in used))
        plan = planner.plan_slot(host, placed, self._need(entry.version, entry.hints))
        if plan is None or _moves_others(plan) or self._has_known_need(entry):
            return plan
        # It may well be larger than estimated: it gets what is free until its need is known.
        spare = min(planner.free_bytes(host, placed), memory_profiles.DEFAULT_BYTES) - plan.slot.host
        return structs.replace(plan, slot=planner.enlarge_slot(host, plan.slot, max(0, spare)))

    @property
    def _is_measuring(self) -> bool:
        """Whether an unmeasured instance is being loaded: what it has beyond its need is soon free for others."""
        return any(
            each.slot and not each.is_ready and not each.is_leaving and not self._has_known_need(each)
            for each in self.entries
        )

    def _has_known_need(self, entry: PoolEntry) -> bool:
        return entry.hints.memory is not None or self._profiles.get(entry.version).host > 0

    def _grant(self, entry: PoolEntry, plan: Plan) -> None:
        assert entry.grant is not None
        entries = self._by_key()
        for key in plan.to_park:
            self._evictor.park(entries[key])
        for key in plan.to_evict:
            self._evictor.evict(entries[key], f"for {entry.version[:12]}")
        entry.slot = plan.slot
        entry.grant.set_result(plan)

    async def _wait_until_free(self, entry: PoolEntry, plan: Plan) -> None:
        """Wait until leaving instances are gone, unless there is room beside them."""
        while True:
            placed = self._placed(can_leave=False, without=entry, with_leaving=True)
            used = planner.occupied_bytes(placed, plan.slot)
            devices = plan.slot.device.items()
            fits_devices = all(used[name] + size <= self.host.device(name).memory for name, size in devices)
            if fits_devices and planner.free_bytes(self.host, placed) >= plan.slot.host:
                return
            departures = [task for each in self.entries if each is not entry and (task := each.departure)]
            if not departures:
                return
            await asyncio.wait(departures, return_when=asyncio.FIRST_COMPLETED)

    def _by_key(self) -> dict[planner.InstanceKey, PoolEntry]:
        return {each.key: each for each in self.entries if each.slot is not None}

    def _placed(
        self,
        *,
        can_leave: bool = True,
        force: bool = False,
        without: PoolEntry | None = None,
        with_leaving: bool = False,
    ) -> list[PlacedInstance]:
        """Return the instances that have a slot; on request, also those that are leaving and not gone yet."""
        return [
            self._as_placed(each, can_leave=can_leave and self._can_leave(each, force=force), is_moving=with_leaving)
            for each in self.entries
            if each is not without and each.slot is not None and (with_leaving or not each.is_leaving)
        ]

    def _as_placed(self, entry: PoolEntry, *, can_leave: bool, is_moving: bool = False) -> PlacedInstance:
        """Return an entry as the planner sees it; with `is_moving`, one that is being parked is still on its device."""
        assert entry.slot is not None
        instance = entry.instance
        return PlacedInstance(
            key=entry.key,
            slot=entry.slot,
            used_at=time.monotonic() - (instance.idle_seconds if instance is not None else 0.0),
            can_leave=can_leave,
            is_parked=entry.is_parked and not (is_moving and entry.move_task is not None),
            can_park=instance is not None and instance.can_park and not entry.is_busy,
        )

    def _can_leave(self, entry: PoolEntry, *, force: bool) -> bool:
        """Return whether it is idle and has been here for a while; with `force`, whether it has had its turn."""
        if entry.instance is None or entry.grant is not None or entry.move_task is not None:
            return False
        if not (entry.is_parked or entry.is_ready) or self.is_protected(entry):
            return False
        stayed = time.monotonic() - entry.instance.ready_at
        if entry.is_busy:
            return force and stayed >= self._settings.turn_limit
        # As long as its loading took: so at most half of the time goes into loading, however models take turns.
        return entry.is_parked or stayed >= min(self._settings.min_residency, entry.instance.load_seconds)

    def _need(self, version: str, hints: Hints | None = None) -> MemoryNeed:
        model_hints = hints if hints is not None else self._hints().get(version, Hints())
        estimate = self._profiles.estimate_unmeasured()
        return memory_profiles.memory_need(self.host, model_hints, self._profiles.get(version), estimate)


def _moves_others(plan: Plan) -> bool:
    return bool(plan.to_park or plan.to_evict)
