"""Which versions are warm in this agent."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

import structlog

from runners.errors import Unavailable

log = structlog.stdlib.get_logger()

FIRST_PAUSE: Final = 10.0  # seconds for which a version whose set-up failed is not tried again
LONGEST_PAUSE: Final = 300.0
RETIRING: Final = 30.0  # seconds in which jobs of a deleted version end, which are told to by a gateway
FAULT_PAUSE: Final = 1.0  # before a version that a fault of ours dropped is tried again here; others may take its jobs

_VERSION: Final = re.compile("[0-9a-f]{64}")


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
        self,
        versions: Iterable[str],
        find: Callable[[str], Awaitable[Keeper | None]],
        *,
        drain: float,
        left: Callable[[], None],
    ) -> None:
        self._versions = set(versions)
        self._find = find
        self._drain = drain
        self._left = left
        self._warm: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._retired: set[str] = set()
        self._closing = False
        self.changed = asyncio.Event()
        """Set when something became warm or cold, or when more is offered."""

    def want(self, version: str) -> None:
        """There is work for it: load it, unless it is warm or cannot be ours."""
        ours = version in self._versions or _VERSION.fullmatch(version)
        if ours and version not in self._tasks and not self._closing:
            self._tasks[version] = asyncio.get_running_loop().create_task(self._keep(version))

    def offer(self, version: str) -> None:
        """From now on it is said to be here."""
        self._versions.add(version)
        self.changed.set()

    async def retire(self, version: str) -> None:
        """It was deleted: what runs may come to its end, the rest goes back. Done once nothing of it is left."""
        task = self._tasks.get(version)
        if task is not None and version not in self._versions:
            self._retired.add(version)
            task.cancel()
            await asyncio.wait([task])
            self._retired.discard(version)
        self._failures.pop(version, None)

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
        """From its being wanted until it has gone."""
        pause = 0.0
        try:
            keeper = await self._find(version)
            if keeper is not None:
                self._warm[version] = keeper
                pause = await self._kept(version, keeper)
        except Unavailable as error:
            failures = self._failures[version] = self._failures.get(version, 0) + 1
            pause = min(LONGEST_PAUSE, FAULT_PAUSE * 2 ** (failures - 1))
            log.warning("a version cannot be had yet", version=version[:12], again_in=pause, reason=str(error))
        except Exception:
            log.exception("a version was dropped", version=version[:12])
            pause = FAULT_PAUSE
        finally:
            try:
                await self._close(version)
                await asyncio.sleep(pause)
            finally:
                was_warm = self._warm.pop(version, None) is not None
                del self._tasks[version]
                if was_warm:
                    self.changed.set()
                    self._left()

    async def _kept(self, version: str, keeper: Keeper) -> float:
        """How long to leave it alone then."""
        failures = self._failures.get(version, 0)
        try:
            good = await keeper.keep(min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures))
        except Exception:
            log.exception("a version was dropped", version=version[:12])
            return FAULT_PAUSE
        self._failures[version] = 0 if good else failures + 1
        return 0.0

    async def _close(self, version: str) -> None:
        keeper = self._warm.get(version)
        if keeper is not None:
            await keeper.close(self._drain if self._closing else RETIRING if version in self._retired else 0)
