"""Looks after what is resident: how much memory it has, what was learnt of it, who may go and who is missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from runners import units
from runners.instances.pool import Pool
from runners.instances.slot import Resident
from runners.placement.memory_profiles import Needs
from runners.placement.planner import CPU, Host
from runners.process import memory

log = structlog.stdlib.get_logger()

EVERY: Final = 0.25  # seconds between two looks at memory; a look costs some 30 µs for each process of the host
AT_REST: Final = 1.0  # the same while nothing is done, and between two looks at queues
SEEK: Final = 5.0  # seconds in which a process is found that a worker has started while nothing is done
MUCH: Final = 0.02  # of what a seat has: less than that is not worth a word to the system


class Upkeep:
    def __init__(self, host: Host, pool: Pool, needs: Needs, more: Callable[[str], Awaitable[None]]) -> None:
        self._host = host
        self._pool = pool
        self._needs = needs
        self._more = more
        """Asks other hosts for one more instance of a version."""
        self._grew = asyncio.Event()
        self._scale = memory.Scale()
        self._walls: dict[int, int] = {}
        self._learnt: dict[int, int] = {}
        """By process: the largest batch whose memory has been counted."""
        self.used = 0

    def grew(self) -> None:
        """A worker says so, or one is about to start: look at once."""
        self._grew.set()

    async def keep(self) -> None:
        """Until cancelled. What goes wrong in one look does not end it."""
        chores_at = sought_at = 0.0
        while True:
            active = self._pool.active
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY if active else AT_REST):
                    await self._grew.wait()
            anew = active or self._grew.is_set() or time.monotonic() - sought_at >= SEEK
            sought_at = time.monotonic() if anew else sought_at
            self._grew.clear()
            try:
                self.weigh(anew=anew)
                if time.monotonic() - chores_at >= AT_REST:
                    chores_at = time.monotonic()
                    await self._chores()
            except Exception:
                log.exception("residents were not looked after")

    async def _chores(self) -> None:
        self._pool.dismiss()
        self._pool.keep_least()
        for version in self._pool.deepen():
            await self._more(version)

    def weigh(self, *, anew: bool = True) -> None:
        """Look at all workers once; whoever has more than its seat gets a larger one, or is replaced.

        `anew`: also for processes that they have started since the last time.
        """
        workers = {pid: each for each in self._pool.residents if each.keeper and (pid := each.keeper.pid)}
        found = self._scale.weigh(workers.keys(), anew=anew)
        self.used = sum(found.values())
        for pid, size in found.items():
            workers[pid].resident = size
            if workers[pid].seat is not None:
                self._judge(workers[pid], pid, size)
        self._wall(workers)
        if self.used > self._host.limit:
            self._shed(workers)
        for gone in self._walls.keys() - found.keys():
            del self._walls[gone]
            self._learnt.pop(gone, None)
        self._pool.seating.arrange()

    def _judge(self, resident: Resident, pid: int, size: int) -> None:
        assert resident.keeper is not None
        assert resident.seat is not None
        new = not resident.keeper.ready or resident.keeper.largest > self._learnt.get(pid, -1)
        if size > resident.seat.host and not self._pool.seating.grow(resident, size, push=new):
            self._outgrown(resident, size)
        if resident.keeper.ready and new:
            self._learn(resident, pid, size)

    def _learn(self, resident: Resident, pid: int, size: int) -> None:
        """Of a batch larger than any before, and of being loaded. Growing without that is no need, but a leak."""
        keeper = resident.keeper
        assert keeper is not None
        assert resident.seat is not None
        known = self._needs.of(resident.version)
        fresh = pid not in self._learnt
        self._learnt[pid] = keeper.largest
        self._needs.learn(
            resident.version,
            host=max(known.host, size),
            device=max(known.device, keeper.device_bytes),
            load_seconds=round(keeper.load_seconds, 3) if fresh else known.load_seconds,
        )
        if resident.hints.memory is None:
            self._pool.seating.shrink(resident)

    def _outgrown(self, resident: Resident, size: int) -> None:
        assert resident.keeper is not None
        assert resident.seat is not None
        if not resident.keeper.ready or resident.replaced == resident.keeper.pid:
            return
        resident.replaced = resident.keeper.pid
        given = f"it was given {units.said(resident.seat.host)}, and no more is free"
        resident.keeper.replace(f"it grew to {units.said(size)}; {given}")

    def _shed(self, workers: dict[int, Resident]) -> None:
        """Together they have more than they may: who has taken most beyond its seat ends now; its jobs run again."""
        worst = max(workers.values(), key=lambda each: each.resident - (each.seat.host if each.seat else 0))
        assert worst.keeper is not None
        self._pool.count("killed")
        limit = f"workers have {units.said(self.used)}, and may have {units.said(self._host.limit)}"
        worst.keeper.kill(f"{limit}; this one has {units.said(worst.resident)}")

    def _wall(self, workers: dict[int, Resident]) -> None:
        if self._host.kind != CPU:
            return  # what a driver maps is nobody's growth
        seating = self._pool.seating
        spare = seating.spare
        for pid, resident in workers.items():
            if resident.seat is None:
                continue
            limit = seating.limit(resident, spare)
            if abs(limit - self._walls.get(pid, 0)) > MUCH * limit:
                self._walls[pid] = limit
                memory.wall(pid, limit)
