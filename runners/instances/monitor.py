"""The monitor of this host's instances: their memory, what is learned from it, and which are missing or unneeded."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from runners import units
from runners.instances.pool import Pool
from runners.instances.pool_entry import PoolEntry
from runners.placement.memory_profiles import MemoryProfiles
from runners.placement.planner import CPU, Host
from runners.process import memory

log = structlog.stdlib.get_logger()

MEASURE_SECONDS: Final = 0.25  # between two measurements; one costs some 30 µs for each process of the host
REST_SECONDS: Final = 1.0  # the same while nothing runs, and between two looks at queues
RESCAN_SECONDS: Final = 5.0  # in which a process is found that a worker has started while nothing runs
MIN_LIMIT_CHANGE: Final = 0.02  # of a limit: less is not worth a system call


class Monitor:
    """The regular check of all instances.

    It measures their memory, records memory profiles, resizes slots and limits, and has the pool scale.
    """

    def __init__(
        self, host: Host, pool: Pool, profiles: MemoryProfiles, ask_other_hosts: Callable[[str], Awaitable[None]]
    ) -> None:
        """`ask_other_hosts` asks for one more instance of a service, as this host has no room."""
        self._host = host
        self._pool = pool
        self._scheduler = pool.scheduler
        self._profiles = profiles
        self._ask_other_hosts = ask_other_hosts
        self._meter = memory.MemoryMeter()
        self._limits: dict[int, int] = {}
        """The memory limit of each worker process."""
        self._measured_batches: dict[int, int] = {}
        """The largest batch of each worker process whose memory has been counted."""
        self.used_bytes = 0

    async def run(self) -> None:
        """Check until canceled. What goes wrong in one check does not end it."""
        scaled_at = scanned_at = 0.0
        growth = self._pool.memory_growth
        while True:
            is_active = self._pool.is_active
            with suppress(TimeoutError):
                async with asyncio.timeout(MEASURE_SECONDS if is_active else REST_SECONDS):
                    await growth.wait()
            rescan = is_active or growth.is_set() or time.monotonic() - scanned_at >= RESCAN_SECONDS
            scanned_at = time.monotonic() if rescan else scanned_at
            growth.clear()
            try:
                self.check_memory(rescan=rescan)
                if time.monotonic() - scaled_at >= REST_SECONDS:
                    scaled_at = time.monotonic()
                    await self._scale()
            except Exception:
                log.exception("a check of the instances failed")

    async def _scale(self) -> None:
        self._pool.evict_unneeded()
        self._pool.ensure_minimum()
        for service in self._pool.scale_up():
            await self._ask_other_hosts(service)

    def check_memory(self, *, rescan: bool = True) -> None:
        """Measure all workers once; one that exceeds its slot gets a larger slot, or is replaced.

        Without `rescan`, processes that workers have started since then may be left out.
        """
        workers = {pid: each for each in self._pool.entries if each.instance and (pid := each.instance.pid)}
        sizes = self._meter.measure(workers.keys(), rescan=rescan)
        self.used_bytes = sum(sizes.values())
        for pid, size in sizes.items():
            workers[pid].resident_bytes = size
            if workers[pid].slot is not None:
                self._check_slot(workers[pid], pid, size)
        self._update_limits(workers)
        if self.used_bytes > self._host.limit:
            self._kill_largest(workers)
        for pid in self._limits.keys() - sizes.keys():
            del self._limits[pid]
            self._measured_batches.pop(pid, None)
        self._scheduler.assign_slots()

    def _check_slot(self, entry: PoolEntry, pid: int, size: int) -> None:
        assert entry.instance is not None
        assert entry.slot is not None
        instance = entry.instance
        is_new_peak = not instance.is_ready or instance.largest_batch > self._measured_batches.get(pid, -1)
        if size > entry.slot.host and not self._scheduler.grow(entry, size, may_evict=is_new_peak):
            self._replace(entry, size)
        if instance.is_ready and is_new_peak:
            self._record(entry, pid, size)

    def _record(self, entry: PoolEntry, pid: int, size: int) -> None:
        """Record the memory of being loaded, and of a batch larger than any before; other growth is a leak, no need."""
        instance = entry.instance
        assert instance is not None
        profile = self._profiles.get(entry.version)
        is_first = pid not in self._measured_batches
        self._measured_batches[pid] = instance.largest_batch
        self._profiles.update(
            entry.version,
            host=max(profile.host, size),
            device=max(profile.device, instance.device_bytes),
            load_seconds=round(instance.load_seconds, 3) if is_first else profile.load_seconds,
        )
        if entry.hints.memory is None:
            self._scheduler.shrink(entry)

    def _replace(self, entry: PoolEntry, size: int) -> None:
        """Replace a worker that has outgrown its slot, once."""
        assert entry.instance is not None
        assert entry.slot is not None
        if not entry.instance.is_ready or entry.replaced_pid == entry.instance.pid:
            return
        entry.replaced_pid = entry.instance.pid
        slot = f"its slot has {units.format_bytes(entry.slot.host)}, and no more is free"
        entry.instance.replace(f"it grew to {units.format_bytes(size)}; {slot}")

    def _kill_largest(self, workers: dict[int, PoolEntry]) -> None:
        """Kill the worker that exceeds its slot most, as all together use too much; its jobs run again."""
        largest = max(workers.values(), key=lambda each: each.resident_bytes - (each.slot.host if each.slot else 0))
        assert largest.instance is not None
        self._pool.increment("killed")
        used, limit = units.format_bytes(self.used_bytes), units.format_bytes(self._host.limit)
        reason = f"all workers together use {used}, and their limit is {limit}"
        largest.instance.kill(f"{reason}; this one uses {units.format_bytes(largest.resident_bytes)}")

    def _update_limits(self, workers: dict[int, PoolEntry]) -> None:
        if self._host.kind != CPU:
            return  # the mappings of a driver would count as growth
        free = self._scheduler.free_bytes
        for pid, entry in workers.items():
            if entry.slot is None:
                continue
            limit = self._scheduler.memory_limit(entry, free)
            if abs(limit - self._limits.get(pid, 0)) > MIN_LIMIT_CHANGE * limit:
                self._limits[pid] = limit
                memory.limit_allocations(pid, limit)
