"""Which versions are warm in this agent."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

log = structlog.stdlib.get_logger()

FIRST_PAUSE: Final = 10.0  # seconds for which a version whose set-up failed is not tried again
LONGEST_PAUSE: Final = 300.0
FAULT_PAUSE: Final = 1.0  # before a version that a fault of ours dropped is tried again here; others may take its jobs


class Ticking(Protocol):
    async def tick(self) -> None: ...
    def lose(self) -> None: ...


class Keeper(Protocol):
    """What a pool needs of a warm version."""

    @property
    def inbox(self) -> Ticking: ...

    ready: bool

    async def keep(self, pause: float) -> bool: ...
    async def close(self, drain: float) -> None: ...


class Pool:
    """One instance per version. (Several agents will share them out by a claim, taken here before a load.)"""

    def __init__(
        self, versions: Iterable[str], make: Callable[[str], Keeper], *, drain: float, left: Callable[[], None]
    ) -> None:
        self._versions = frozenset(versions)
        self._make = make
        self._drain = drain
        self._left = left
        self._warm: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._closing = False
        self.changed = asyncio.Event()
        """Set when something became warm or cold."""

    def want(self, version: str) -> None:
        """There is work for it: load it, unless it is warm or not ours."""
        if version in self._versions and version not in self._tasks and not self._closing:
            self._tasks[version] = asyncio.get_running_loop().create_task(self._keep(version))

    @property
    def versions(self) -> list[str]:
        return sorted(self._versions)

    @property
    def warm(self) -> list[str]:
        return sorted(version for version, keeper in self._warm.items() if keeper.ready)

    @property
    def inboxes(self) -> list[Ticking]:
        return [keeper.inbox for keeper in self._warm.values()]

    async def close(self) -> None:
        """Give everything back and end every worker, at the same time."""
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _keep(self, version: str) -> None:
        keeper = self._make(version)
        self._warm[version] = keeper
        failures = self._failures.get(version, 0)
        pause = 0.0
        try:
            good = await keeper.keep(min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures))
            self._failures[version] = 0 if good else failures + 1
        except Exception:
            log.exception("a version was dropped", version=version[:12])
            pause = FAULT_PAUSE
        finally:
            try:
                await keeper.close(self._drain if self._closing else 0)
                await asyncio.sleep(pause)
            finally:
                del self._warm[version]
                del self._tasks[version]
                self.changed.set()
                self._left()
