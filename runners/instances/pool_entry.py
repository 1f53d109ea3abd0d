"""An entry of the instance pool: one instance, from the request for it until it is gone."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from runners.broker.leases import Lease
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints
from runners.placement.planner import InstanceKey, Plan, Slot
from schemas import phases, subjects
from schemas.models import InstanceState, InstanceStatus


class HeldQueue(Protocol):
    """A queue whose deliveries in hand have to be kept alive."""

    async def keep_alive(self) -> None: ...
    def reset(self) -> None: ...


class NamedModel(Protocol):
    """The model of an instance."""

    @property
    def name(self) -> str: ...
    @property
    def hints(self) -> Hints: ...


class PooledInstance(Protocol):
    """The instance that an entry needs: a worker process and its jobs in hand."""

    @property
    def queue(self) -> HeldQueue: ...
    @property
    def model(self) -> NamedModel: ...

    is_ready: bool
    """Whether it takes jobs."""
    ready_at: float
    """The time of `time.monotonic` since when it takes jobs."""
    can_park: bool
    device_bytes: int

    @property
    def pid(self) -> int | None:
        """The process id of its worker; None while there is none."""
        ...

    @property
    def is_busy(self) -> bool: ...
    @property
    def running_jobs(self) -> int: ...
    @property
    def queued_jobs(self) -> int: ...
    @property
    def backlog_seconds(self) -> float: ...
    @property
    def largest_batch(self) -> int: ...
    @property
    def load_seconds(self) -> float: ...
    @property
    def setup_error(self) -> str | None:
        """The reason why it cannot be set up, if so."""
        ...

    @property
    def idle_seconds(self) -> float: ...

    async def run(self, refuse_seconds: float, limits: Callable[[Path], WorkerLimits]) -> bool: ...
    async def close(self, drain_seconds: float, stop_waiting: asyncio.Event) -> None: ...
    async def park(self) -> bool: ...
    async def unpark(self) -> bool: ...
    def replace(self, reason: str) -> None: ...
    def kill(self, reason: str) -> None: ...


class PoolEntry:
    """The state of one instance on this host: requested, waiting for a slot, loaded, parked, leaving.

    The pool owns it, and the scheduler its slot; the monitor measures its memory.
    """

    def __init__(
        self, service: str, numbers: range, *, only_if_free: bool = False, trial_hints: Hints | None = None
    ) -> None:
        """Only workers that take no jobs have `trial_hints`: their models' hints, in place of an instance's."""
        self.service = service
        self.version = subjects.version_of(service)
        self.numbers = numbers
        """The numbers that the instance may get by its lease."""
        self.only_if_free = only_if_free
        """Whether it may only take free memory, so that no other instance leaves for it."""
        self.trial_hints = trial_hints
        self.since = datetime.now(UTC)
        self.phase = phases.LOADING
        self.task: asyncio.Task[None] | None = None
        self.lease: Lease | None = None
        self.instance: PooledInstance | None = None
        self.slot: Slot | None = None
        self.waiting_since = 0.0
        """The time when it asked for a slot that it still waits for."""
        self.grant: asyncio.Future[Plan] | None = None
        """The answer that it waits for."""
        self.is_parked = False
        self.move_task: asyncio.Task[None] | None = None
        """The move off its device, or back, that is going on."""
        self.is_leaving = False
        self.is_evicted = False
        self.drain_seconds = 0.0
        """The time that started jobs get once it has to leave."""
        self.stop_waiting = asyncio.Event()
        """Set when its departure no longer waits for anything."""
        self.is_backing_off = False
        """Whether it has left, and only keeps its service from being tried again at once."""
        self.resident_bytes = 0
        """The bytes of its worker, as last measured."""
        self.replaced_pid: int | None = None
        """The worker process that is being replaced."""

    @property
    def key(self) -> InstanceKey:
        """The service and number of the instance."""
        return self.service, self.numbers.start if self.lease is None else self.lease.number

    @property
    def hints(self) -> Hints:
        """The hints of the model, as far as they are known yet."""
        return self.instance.model.hints if self.instance is not None else self.trial_hints or Hints()

    @property
    def is_ready(self) -> bool:
        """Whether it takes jobs."""
        return self.instance is not None and self.instance.is_ready and not self.is_leaving

    @property
    def is_busy(self) -> bool:
        """Whether it has jobs in hand or in its queue."""
        return self.instance is not None and (self.instance.is_busy or self.instance.queued_jobs > 0)

    @property
    def departure(self) -> asyncio.Task[None] | None:
        """The task that ends once it has left its device; None while it is not leaving it."""
        if self.is_leaving:
            return self.task
        return self.move_task if self.is_parked else None

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that name it in log lines."""
        name = self.instance.model.name if self.instance is not None else ""
        fields: dict[str, object] = {"model": name, "version": self.version[:12], "number": self.key[1]}
        release = subjects.pool_of(self.service)
        return fields | ({"release": release} if release else {})

    @property
    def state(self) -> InstanceState:
        """The state as gateways see it."""
        if self.is_parked:
            return "parked"
        return "hot" if self.is_ready else "starting"

    def describe(self) -> InstanceStatus:
        """Return the status that goes to the gateways."""
        instance, slot = self.instance, self.slot
        used_at: datetime | None = None
        if instance is not None and instance.is_ready:
            used_at = datetime.now(UTC) - timedelta(seconds=instance.idle_seconds)
        return InstanceStatus(
            version=self.version,
            release=subjects.pool_of(self.service),
            model=instance.model.name if instance is not None else "",
            number=self.key[1],
            state=self.state,
            phase=self.phase if self.state == "starting" else None,
            devices=list(slot.device) if slot is not None else [],
            memory=self.resident_bytes,
            planned=slot.host if slot is not None else 0,
            running=instance.running_jobs if instance is not None else 0,
            queued=instance.queued_jobs if instance is not None else 0,
            since=self.since,
            used_at=used_at,
        )
