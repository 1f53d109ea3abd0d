"""An instance of a version, as its host keeps track of it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from runners.broker.leases import Claim
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints
from runners.placement.planner import Key, Plan, Seat
from schemas import phases, subjects


class Ticking(Protocol):
    async def tick(self) -> None: ...
    def lose(self) -> None: ...


class Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def hints(self) -> Hints: ...


class Keeper(Protocol):
    """What runs an instance: its worker, and the jobs in hand."""

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
    def failure(self) -> str | None:
        """Why it cannot be set up."""
        ...

    @property
    def idle_for(self) -> float: ...

    async def keep(self, pause: float, given: Callable[[Path], Given]) -> bool: ...
    async def close(self, drain: float, hurry: asyncio.Event) -> None: ...
    async def park(self) -> bool: ...
    async def unpark(self) -> bool: ...
    def replace(self, reason: str) -> None: ...
    def kill(self, reason: str) -> None: ...


class Resident:
    """An instance from its being wanted until it has gone; owned by the pool, its seat by the seating."""

    def __init__(self, service: str, numbers: range, *, modest: bool = False, asks: Hints | None = None) -> None:
        self.service = service
        self.version = subjects.version_of(service)
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
        return self.service, self.numbers.start if self.claim is None else self.claim.number

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

    @property
    def going(self) -> asyncio.Task[None] | None:
        """Done once it has left its device."""
        if self.leaving:
            return self.task
        return self.moving if self.parked else None

    @property
    def about(self) -> dict[str, object]:
        """For a line in the log."""
        name = self.keeper.model.name if self.keeper is not None else ""
        about: dict[str, object] = {"model": name, "version": self.version[:12], "number": self.key[1]}
        release = subjects.pool_of(self.service)
        return about | ({"release": release} if release else {})
