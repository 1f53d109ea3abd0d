"""The pool of instances on this host: from the request for one until it is gone."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog
from msgspec import Struct

from runners.broker.leases import Lease
from runners.errors import RunnerError, SetupOutOfMemory, VersionUnavailable
from runners.instances.backoff import Backoff, refusal_seconds
from runners.instances.instance import InstanceObserver
from runners.instances.pool_entry import HeldQueue, PooledInstance, PoolEntry
from runners.instances.scaling_policy import ScalingPolicy
from runners.instances.scheduler import Scheduler
from runners.instances.trial_slots import TrialSlots
from runners.placement.memory_profiles import Hints, MemoryProfiles
from runners.placement.planner import Host
from runners.settings import Settings
from schemas import phases, subjects
from schemas.models import InstanceStatus, Release

log = structlog.stdlib.get_logger()

RETIRE_SECONDS: Final = 30.0  # in which jobs of a deleted version end, which a gateway has canceled
FAULT_RETRY_SECONDS: Final = 1.0  # after a fault of ours dropped a version; others may take its jobs meanwhile
YIELD_SECONDS: Final = 0.1  # that a host waits which has to make room, for one that has some
UNKNOWN_VERSION_SECONDS: Final = 5.0  # until it is checked again whether a version can be served
LEASED_ELSEWHERE_SECONDS: Final = 1.0  # until a lease that another host has is requested again
MIN_BACKLOG_SECONDS: Final = 2.0  # of work in a queue, from which on another instance is worthwhile

COUNTERS: Final = ("loads", "parks", "unparks", "evictions", "replaced", "killed")

_VERSION: Final = re.compile("[0-9a-f]{64}")


class VersionSource(Protocol):
    """The source of versions and of their instances."""

    async def can_serve(self, version: str) -> bool: ...
    async def create_instance(
        self, service: str, observer: InstanceObserver, on_phase: Callable[[str], None]
    ) -> PooledInstance | None: ...
    def hints(self) -> Mapping[str, Hints]: ...


class LeaseStore(Protocol):
    """The leases of the fleet's instances."""

    async def acquire(self, service: str, numbers: range, /) -> Lease | None: ...
    async def release(self, lease: Lease) -> None: ...


class PoolServices(Struct, frozen=True, kw_only=True):
    """The services that a pool needs."""

    host: Host
    settings: Settings
    factory: VersionSource
    leases: LeaseStore
    profiles: MemoryProfiles
    releases: Callable[[], Mapping[str, Release]]
    """The releases that may be served here, by service; they come and go."""
    on_vacancy: Callable[[], None]
    """Called when an instance has left: any host may take what waits for it."""


class Pool:
    """The instances of this host.

    It owns each entry's lifecycle: lease, slot, load, park, leave. The autoscaler requests instances, the scheduler has
    them make room, the monitor evicts those that are unneeded; builds and trainings borrow slots for their workers.
    """

    def __init__(self, versions: Iterable[str], services: PoolServices) -> None:
        """`versions` are those that this host offers to the gateways."""
        self.versions = sorted(versions)
        self._services = services
        self._settings = services.settings
        self.scheduler = Scheduler(services.host, services.settings, services.profiles, services.factory.hints, self)
        self._entries = self.scheduler.entries
        self._policy = ScalingPolicy(services.settings, services.factory.hints, services.releases)
        self._backoff = Backoff()
        self._is_closing = False
        self.counts: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.changed = asyncio.Event()
        """Set when the status for the gateways has changed."""
        self.memory_growth = asyncio.Event()
        """Set when a worker's memory has grown, or is about to."""
        self.trial_slots = TrialSlots(self.scheduler, services.profiles, self.changed)

    def request(self, service: str) -> None:
        """Have an instance here, as there is work for it, unless there is one or another host serves it."""
        entries = self._entries_of(service)
        for entry in entries:
            if entry.is_parked and not entry.is_leaving:
                self._request_return(entry)
        if not entries and not self._backoff.is_blocked(service):
            self._add_entry(service, range(1))

    def request_more(self, service: str) -> bool:
        """Have one more instance, as the queue is long, on a device that has none; return False if there is no room."""
        entries = self._entries_of(service)
        devices = len(self._services.host.devices)
        if any(each.slot is None for each in entries) or len(self.scheduler.devices_of(service)) >= devices:
            return False
        if not self.scheduler.has_room(subjects.version_of(service)):
            return False
        maximum = self._max_instances(service)
        return maximum > 1 and self._add_entry(service, range(1, maximum), only_if_free=True)

    def add_version(self, version: str) -> None:
        """Offer one more version to the gateways."""
        self.versions = sorted({*self.versions, version})
        self._policy.refresh_models()
        self._backoff.unblock_version(version)
        self.changed.set()

    async def retire(self, version: str) -> None:
        """End a deleted version: what runs may finish, the rest goes back to the queue. Return once it is gone."""
        if version not in self.versions:
            entries = [each for each in self._entries if each.version == version and each.task is not None]
            tasks = [self._leave(entry, RETIRE_SECONDS) for entry in entries]
            if tasks:
                await asyncio.wait(tasks)
        self._backoff.clear_version(version)

    def increment(self, counter: str) -> None:
        """Count an event of this host (`COUNTERS`)."""
        self.counts[counter] += 1

    @property
    def edition(self) -> str:
        """A hash of the offered versions; empty if there are none."""
        return hashlib.sha256("".join(self.versions).encode()).hexdigest()[:16] if self.versions else ""

    @property
    def ready_services(self) -> list[str]:
        """Services that take jobs here."""
        return sorted({entry.service for entry in self._entries if entry.is_ready})

    @property
    def failures(self) -> dict[str, str]:
        """Services that could not be set up, and why."""
        errors = {each.service: each.instance.setup_error for each in self._entries if each.instance is not None}
        failed = self._backoff.setup_errors | {each: error for each, error in errors.items() if error is not None}
        return {service: error for service, error in failed.items() if self._policy.is_served(service)}

    @property
    def entries(self) -> list[PoolEntry]:
        """The entries, in the order of their requests."""
        return list(self._entries)

    @property
    def instances(self) -> list[InstanceStatus]:
        """The status of every instance that is not leaving, for the gateways."""
        return [entry.describe() for entry in self._entries if not entry.is_leaving]

    @property
    def device_bytes(self) -> dict[str, int]:
        """The bytes of each device that slots have, by device name."""
        totals: dict[str, int] = {}
        for entry in self._entries:
            if entry.slot is not None and not entry.is_parked:
                for name, size in entry.slot.device.items():
                    totals[name] = totals.get(name, 0) + size
        return totals

    @property
    def services(self) -> set[str]:
        """Services that have an instance here, or are about to."""
        return {entry.service for entry in self._entries}

    @property
    def is_active(self) -> bool:
        """Whether something runs, or is on its way in or out."""
        return any(each.is_busy or not (each.is_ready or each.is_parked) for each in self._entries)

    @property
    def queues(self) -> list[HeldQueue]:
        """The queues of all instances."""
        return [entry.instance.queue for entry in self._entries if entry.instance is not None]

    def on_instance_changed(self) -> None:
        """Have the status reported."""
        self.changed.set()

    def on_instance_idle(self) -> None:
        """Assign slots again: the instance may leave for others now."""
        self.scheduler.assign_slots()

    def on_worker_replaced(self) -> None:
        """Count the replacement."""
        self.increment("replaced")

    def on_memory_growth(self) -> None:
        """Have the monitor measure memory at once."""
        self.memory_growth.set()

    def ensure_minimum(self) -> None:
        """Have the instances that models and deployments want in any case."""
        for service, minimum in self._policy.minimums().items():
            if minimum > len(self._entries_of(service)) and not self._backoff.is_blocked(service):
                self._add_entry(service, range(minimum))

    def min_instances(self, entry: PoolEntry) -> int:
        """Return how many instances of an entry's service are wanted in any case."""
        return self._policy.min_instances(entry)

    async def close(self) -> None:
        """Return all jobs to their queues and end all workers, at the same time."""
        self._is_closing = True
        if not self._settings.drain_seconds:
            for entry in self._entries:
                entry.stop_waiting.set()
        entries = [entry for entry in self._entries if entry.task is not None]
        tasks = [self._leave(entry, self._settings.drain_seconds) for entry in entries]
        if tasks:
            await asyncio.wait(tasks)

    def evict_unneeded(self) -> None:
        """Evict instances that are idle for too long, leased to another host, or of a release that is gone."""
        for entry in self._entries:
            instance = entry.instance
            if self._is_surplus(entry):
                self.evict(entry, "its deployment no longer wants it")
                continue
            if instance is None or entry.is_leaving or entry.grant is not None:
                continue
            if entry.lease is not None and entry.lease.lost.is_set():
                self.evict(entry, "another host has its lease")
            elif self._is_idle_too_long(entry, instance):
                self.evict(entry, "idle")

    def scale_up(self) -> list[str]:
        """Add an instance for each long queue; return the services that found no room for one here."""
        remaining: list[str] = []
        for entry in list(self._entries):
            if entry.is_ready and entry.instance is not None:
                load_seconds = self._services.profiles.get(entry.version).load_seconds
                is_long = entry.instance.backlog_seconds > max(MIN_BACKLOG_SECONDS, 3 * load_seconds)
                if is_long and not self.request_more(entry.service):
                    remaining.append(entry.service)
        return remaining

    def park(self, entry: PoolEntry) -> None:
        """Move an instance off its device, to make room there."""
        entry.is_parked = True
        self.increment("parks")
        entry.move_task = asyncio.get_running_loop().create_task(self._park(entry))

    def evict(self, entry: PoolEntry, reason: str) -> None:
        """End an instance once what it has started has finished."""
        log.info("evicting", **entry.log_fields, reason=reason)
        self.increment("evictions")
        entry.is_evicted = True
        self._leave(entry, self._settings.run_limit)

    def _entries_of(self, service: str) -> list[PoolEntry]:
        return [entry for entry in self._entries if entry.service == service]

    def _max_instances(self, service: str) -> int:
        return self._policy.max_instances(service, (each.hints for each in self._entries_of(service)))

    def _is_surplus(self, entry: PoolEntry) -> bool:
        """Return whether its release is gone, or has fewer instances than before."""
        if subjects.pool_of(entry.service) is None or entry.is_leaving or entry.task is None:
            return False
        return entry.key[1] >= self._max_instances(entry.service)

    def _is_idle_too_long(self, entry: PoolEntry, instance: PooledInstance) -> bool:
        """Return whether it may leave for want of work; one that is still loading may not, however long that takes."""
        is_loaded = entry.is_ready or entry.is_parked
        if not is_loaded or self.scheduler.is_protected(entry):
            return False
        return 0 < self._policy.idle_limit(entry) <= instance.idle_seconds

    def _add_entry(self, service: str, numbers: range, *, only_if_free: bool = False) -> bool:
        if subjects.pool_of(service) is not None:
            is_known = numbers.start < self._max_instances(service)
        else:
            is_known = service in self.versions or _VERSION.fullmatch(service) is not None
        if self._is_closing or not is_known:
            return False
        entry = PoolEntry(service, numbers, only_if_free=only_if_free)
        self._entries.append(entry)
        entry.task = asyncio.get_running_loop().create_task(self._run(entry))
        return True

    async def _run(self, entry: PoolEntry) -> None:
        """Run an entry from its request until it is gone."""
        pause = 0.0
        version = entry.version[:12]
        try:
            if await self._acquire_lease(entry):
                await self._load_and_serve(entry)
        except VersionUnavailable as error:
            pause = self._backoff.record_failure(entry.service, FAULT_RETRY_SECONDS)
            log.warning("a version is not available yet", version=version, retry_seconds=pause, reason=str(error))
        except SetupOutOfMemory as error:
            self.trial_slots.request_whole_host(entry.version)
            log.warning("a version gets the memory of the whole host", version=version, reason=str(error))
        except RunnerError as error:
            pause = FAULT_RETRY_SECONDS
            log.warning("a version was dropped", version=version, reason=str(error))
        except Exception:
            pause = FAULT_RETRY_SECONDS
            log.exception("a version was dropped", version=version)
        finally:
            await self._remove(entry, pause)

    async def _acquire_lease(self, entry: PoolEntry) -> bool:
        """Acquire the lease to load it; a host that would have to make room lets others go first."""
        if not await self._services.factory.can_serve(entry.version):
            self._backoff.block(entry.service, UNKNOWN_VERSION_SECONDS)
            return False
        if not self.scheduler.has_room(entry.version):
            await asyncio.sleep(YIELD_SECONDS)
        entry.lease = await self._services.leases.acquire(entry.service, entry.numbers)
        if entry.lease is None:
            self._backoff.block(entry.service, LEASED_ELSEWHERE_SECONDS)
        return entry.lease is not None

    async def _load_and_serve(self, entry: PoolEntry) -> None:
        """Create the instance, wait for its slot, and run it."""
        service = entry.service
        entry.instance = instance = await self._services.factory.create_instance(
            service, self, lambda phase: self._set_phase(entry, phase)
        )
        if instance is None or not await self._wait_for_slot(entry):
            return
        self._set_phase(entry, phases.LOADING)
        self.increment("loads")
        failures = self._backoff.count_failures(service)
        is_set_up = await instance.run(
            refusal_seconds(failures), lambda offload: self.scheduler.worker_limits(entry, offload)
        )
        if is_set_up:
            self._backoff.clear(service)
        else:
            self._backoff.record_setup_failure(service, failures + 1, instance.setup_error or "")

    async def _wait_for_slot(self, entry: PoolEntry) -> bool:
        """Wait for a slot; return False if it may only take free memory, and there is too little."""
        if entry.only_if_free and not self.scheduler.has_slot_now(entry):
            return False
        self._set_phase(entry, phases.WAITING)
        await self.scheduler.wait_for_slot(entry)
        return True

    def _request_return(self, entry: PoolEntry) -> None:
        if entry.grant is None and (entry.move_task is None or entry.move_task.done()):
            entry.move_task = asyncio.get_running_loop().create_task(self._unpark(entry))

    async def _unpark(self, entry: PoolEntry) -> None:
        assert entry.instance is not None
        try:
            await self.scheduler.wait_for_slot(entry)
            entry.is_parked = False
            if await entry.instance.unpark():
                self.increment("unparks")
        finally:
            entry.move_task = None
            self.changed.set()

    async def _park(self, entry: PoolEntry) -> None:
        assert entry.instance is not None
        try:
            await entry.instance.park()
        finally:
            entry.move_task = None
            self.changed.set()
            self._services.on_vacancy()

    def _leave(self, entry: PoolEntry, drain_seconds: float) -> asyncio.Task[None]:
        """Have an entry leave; jobs that have started get so many seconds."""
        assert entry.task is not None
        if entry.is_backing_off:
            entry.stop_waiting.set()
        elif not entry.is_leaving:
            entry.is_leaving = True
            entry.drain_seconds = drain_seconds
            if entry.move_task is not None:
                entry.move_task.cancel()
            entry.task.cancel()
        return entry.task

    async def _remove(self, entry: PoolEntry, pause: float) -> None:
        """End its worker, free its slot and lease, and remove the entry after the pause."""
        entry.is_leaving, started = True, time.monotonic()
        try:
            if entry.instance is not None:
                self.changed.set()
                await entry.instance.close(entry.drain_seconds, entry.stop_waiting)
        except Exception:
            log.exception("closing an instance failed", version=entry.version[:12])
        finally:
            if entry.is_evicted:
                log.info("evicted", **entry.log_fields, seconds=round(time.monotonic() - started, 3))
            entry.slot = None
            entry.is_backing_off = True
            self.scheduler.assign_slots()
            if entry.lease is not None:
                await self._services.leases.release(entry.lease)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await entry.stop_waiting.wait()
            self._entries.remove(entry)
            if entry.instance is not None:
                self.changed.set()
                self._services.on_vacancy()

    def _set_phase(self, entry: PoolEntry, phase: str) -> None:
        entry.phase = phase
        self.changed.set()
