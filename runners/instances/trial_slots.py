"""Slots for workers that take no predictions: those of builds and trainings."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from runners.instances.pool_entry import PoolEntry
from runners.instances.scheduler import Scheduler
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints, MemoryProfiles
from schemas import phases


class TrialSlots:
    """The lender of slots for workers that are only tried, or train, beside the instances of the pool."""

    def __init__(self, scheduler: Scheduler, profiles: MemoryProfiles, changed: asyncio.Event) -> None:
        """It sets `changed` when the status for the gateways has changed."""
        self._scheduler = scheduler
        self._profiles = profiles
        self._changed = changed

    @asynccontextmanager
    async def lend_slot(
        self, version: str, hints: Hints, offload: Path, phase: str = phases.LOADING
    ) -> AsyncGenerator[WorkerLimits]:
        """Wait for a slot and lend it; `phase` is what the status says of its worker."""
        entry = PoolEntry(version, range(1), trial_hints=hints)
        self._scheduler.entries.append(entry)
        try:
            self._set_phase(entry, phases.WAITING)
            await self._scheduler.wait_for_slot(entry)
            self._set_phase(entry, phase)
            yield self._scheduler.worker_limits(entry, offload)
        finally:
            self._scheduler.entries.remove(entry)
            self._scheduler.assign_slots()

    def record_memory(self, version: str, *, host: int, device: int) -> None:
        """Record the bytes that a worker with a lent slot used."""
        self._profiles.update(version, host=host, device=device)

    def request_whole_host(self, version: str) -> bool:
        """Give a version the whole host in its next slot, as the last was too small; return False if it had that."""
        was_partial = not self._profiles.get(version).needs_all_devices
        self._profiles.update(version, needs_all_devices=True)
        return was_partial

    def _set_phase(self, entry: PoolEntry, phase: str) -> None:
        entry.phase = phase
        self._changed.set()
