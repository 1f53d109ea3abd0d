"""The pool and its scheduler, with fake instances: what is loaded, what leaves for what, and when."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, convert

from runners.broker.leases import Lease
from runners.errors import SetupOutOfMemory, VersionUnavailable
from runners.instances.instance import InstanceObserver
from runners.instances.pool import Pool, PoolServices
from runners.instances.pool_entry import HeldQueue
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints, MemoryProfiles
from runners.placement.planner import CPU, Device, Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Release
from tests.runners.conftest import eventually

G = 10**9


class FakeModel(Struct):
    name: str
    hints: Hints = Hints()


class FakeInstance:
    """An instance that is loaded at once, does what a test sets, and records what is called."""

    queue: HeldQueue
    can_park = True
    device_bytes = 0
    pid = None
    largest_batch = 0
    load_seconds = 0.0
    setup_error = None

    def __init__(self, version: str, hints: Hints) -> None:
        self.model = FakeModel(version, hints)
        self.is_ready = False
        self.ready_at = 0.0
        self.is_busy = False
        self.running_jobs = 0
        self.queued_jobs = 0
        self.backlog_seconds = 0.0
        self.idle_seconds = 0.0
        self.calls: list[str] = []
        self.setup_failure: Exception | None = None
        self.close_fails = False
        self.finished = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.limits: WorkerLimits | None = None

    async def run(self, refuse_seconds: float, limits: Callable[[Path], WorkerLimits]) -> bool:
        if self.setup_failure is not None:
            raise self.setup_failure
        self.limits = limits(Path("/offload"))
        await self.may_load.wait()
        self.is_ready, self.ready_at = True, time.monotonic()
        await asyncio.Event().wait()
        return True

    async def close(self, drain_seconds: float, stop_waiting: asyncio.Event) -> None:
        self.is_ready = False
        self.calls.append("close")
        if self.close_fails:
            raise RuntimeError("close failed")
        if self.is_busy:
            waits = [asyncio.ensure_future(event.wait()) for event in (self.finished, stop_waiting)]
            await asyncio.wait(waits, timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def park(self) -> bool:
        self.is_ready = False
        self.calls.append("park")
        return True

    async def unpark(self) -> bool:
        self.is_ready = True
        self.calls.append("unpark")
        return True

    def replace(self, reason: str) -> None: ...
    def kill(self, reason: str) -> None: ...


class Scene:
    """A pool and all that it needs: a host, versions, leases."""

    def __init__(self, host: Host, tmp_path: Path, hints: Mapping[str, Hints], **settings: Any) -> None:
        self.instances: list[FakeInstance] = []
        self.leased: set[tuple[str, int]] = set()
        self.vacancies = 0
        self._hints = hints
        self.prepare: Callable[[FakeInstance], None] = lambda _: None
        self.missing = False
        self.releases: dict[str, Release] = {}
        parts = PoolServices(
            host=host,
            settings=convert({"min_residency": 0, **settings}, Settings),
            factory=self,
            leases=self,
            profiles=MemoryProfiles(tmp_path / "needs"),
            releases=lambda: self.releases,
            on_vacancy=self._on_vacancy,
        )
        self.pool = Pool(hints, parts)

    def _on_vacancy(self) -> None:
        self.vacancies += 1

    async def can_serve(self, version: str) -> bool:
        if self.missing:
            raise VersionUnavailable("no file store")
        return version in self._hints

    async def create_instance(
        self, service: str, observer: InstanceObserver, on_phase: Callable[[str], None]
    ) -> FakeInstance:
        fake = FakeInstance(service, self._hints[subjects.version_of(service)])
        self.prepare(fake)
        self.instances.append(fake)
        return fake

    def hints(self) -> Mapping[str, Hints]:
        return self._hints

    async def acquire(self, version: str, numbers: range) -> Lease | None:
        for number in numbers:
            if (version, number) not in self.leased:
                self.leased.add((version, number))
                return Lease(version, number, 1)
        return None

    async def release(self, lease: Lease) -> None:
        self.leased.discard((lease.service, lease.number))

    async def load(self, version: str) -> FakeInstance:
        """Request an instance and wait until it is ready."""
        self.pool.request(version)
        return await self.wait_ready(version)

    async def wait_ready(self, version: str) -> FakeInstance:
        await eventually(lambda: version in self.pool.ready_services)
        return next(fake for fake in reversed(self.instances) if fake.model.name == version and fake.is_ready)

    async def wait_gone(self, version: str) -> None:
        await eventually(lambda: version not in self.pool.services)


def host(memory: int = 10 * G, *, groups: int = 1, device: int | None = None) -> Host:
    devices = [Device(name=f"cpu:{n}", kind=CPU, label="", memory=device or memory) for n in range(groups)]
    return Host(memory=memory, devices=tuple(devices))


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def build(host: Host, hints: Mapping[str, Hints], **settings: Any):
        scene = Scene(host, tmp_path, hints, **settings)
        yield scene
        await scene.pool.close()
        assert scene.leased == set()

    return build


def of(memory: int, **more: Any) -> Hints:
    return Hints(memory=memory, **more)


async def test_a_requested_service_is_leased_and_loaded_once(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        await it.load("a")
        assert it.leased == {("a", 0)}
        it.pool.request("a")
        assert len(it.instances) == 1


async def test_a_service_leased_elsewhere_is_not_loaded(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.leased.add(("a", 0))
        it.pool.request("a")
        await it.wait_gone("a")
        assert it.instances == []
        it.leased.clear()


async def test_the_least_recently_used_instance_leaves_for_another(scene) -> None:
    async with scene(host(), {name: of(4 * G) for name in "abc"}) as it:
        (await it.load("a")).idle_seconds = 1.0
        (await it.load("b")).idle_seconds = 9.0
        await it.load("c")
        assert it.pool.ready_services == ["a", "c"]
        assert it.pool.counts["evictions"] == 1
        assert it.vacancies == 1


async def test_a_busy_instance_stays_until_it_is_idle(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}) as it:
        first = await it.load("a")
        first.is_busy = True
        it.pool.request("b")
        await eventually(lambda: any(each.phase == "waiting for memory" for each in it.pool.entries))
        assert it.pool.ready_services == ["a"]
        first.is_busy = False
        it.pool.scheduler.assign_slots()
        await it.wait_ready("b")
        assert it.pool.ready_services == ["b"]


async def test_an_instance_with_queued_jobs_stays(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}) as it:
        first = await it.load("a")
        first.queued_jobs = 3
        it.pool.request("b")
        await eventually(lambda: len(it.instances) == 2)
        it.pool.scheduler.assign_slots()
        assert it.pool.ready_services == ["a"]
        first.queued_jobs = 0
        it.pool.scheduler.assign_slots()
        await it.wait_ready("b")


async def test_an_instance_that_always_has_work_leaves_after_its_turn(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}, turn_limit=0.05) as it:
        first = await it.load("a")
        first.is_busy = True
        it.pool.request("b")
        await eventually(lambda: it.pool.scheduler.assign_slots() or first.calls)
        assert it.pool.ready_services == []
        first.finished.set()
        await it.wait_ready("b")


async def test_an_instance_stays_for_a_while_before_it_makes_room(scene) -> None:
    """As long as its loading took, up to a limit."""
    async with scene(host(), {name: of(6 * G) for name in "ab"}, min_residency=0.2) as it:
        first = await it.load("a")
        first.load_seconds = 9.0
        it.pool.request("b")
        await eventually(lambda: it.pool.scheduler.assign_slots() or first.calls)
        second = await it.wait_ready("b")
        assert second.ready_at - first.ready_at >= 0.2


async def test_a_device_smaller_than_the_host_is_emptied_by_parking(scene) -> None:
    async with scene(host(device=5 * G), {name: of(4 * G) for name in "ab"}) as it:
        first = await it.load("a")
        await it.load("b")
        assert (first.calls, it.pool.ready_services) == (["park"], ["b"])
        it.pool.request("a")
        await it.wait_ready("a")
        assert first.calls == ["park", "unpark"]
        assert len(it.instances) == 2
        assert (it.pool.counts["loads"], it.pool.counts["parks"], it.pool.counts["unparks"]) == (2, 2, 1)


async def test_the_minimum_of_instances_is_loaded_and_stays(scene) -> None:
    async with scene(host(), {"a": of(6 * G, min_instances=1), "b": of(6 * G)}, idle_timeout=0.01) as it:
        it.pool.ensure_minimum()
        first = await it.wait_ready("a")
        first.idle_seconds = 100.0
        it.pool.evict_unneeded()
        it.pool.request("b")
        await eventually(lambda: len(it.instances) == 2)
        it.pool.scheduler.assign_slots()
        assert (first.calls, it.pool.ready_services) == ([], ["a"])


async def test_an_instance_that_is_idle_for_too_long_is_evicted(scene) -> None:
    async with scene(host(), {"a": of(G, idle_timeout=5.0), "b": of(G)}, idle_timeout=0) as it:
        for name in "ab":
            (await it.load(name)).idle_seconds = 5.5
        it.pool.evict_unneeded()
        await it.wait_gone("a")
        assert it.pool.ready_services == ["b"]


async def test_an_instance_that_is_loading_is_not_idle(scene) -> None:
    def prepare(fake: FakeInstance) -> None:
        fake.may_load.clear()
        fake.idle_seconds = 100.0

    async with scene(host(), {"a": of(G)}, idle_timeout=1.0) as it:
        it.prepare = prepare
        it.pool.request("a")
        await eventually(lambda: it.instances and it.instances[0].limits)
        it.pool.evict_unneeded()
        assert it.instances[0].calls == []
        it.instances[0].may_load.set()
        await it.wait_ready("a")


async def test_an_instance_that_has_lost_its_lease_is_evicted(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        await it.load("a")
        next(each.lease for each in it.pool.entries).lost.set()
        it.pool.evict_unneeded()
        await it.wait_gone("a")


async def test_a_long_queue_gets_an_instance_on_another_device(scene) -> None:
    async with scene(host(groups=2), {"a": of(G)}) as it:
        (await it.load("a")).backlog_seconds = 60.0
        assert it.pool.scale_up() == []
        await eventually(lambda: sum(each.is_ready for each in it.pool.entries) == 2)
        assert [list(each.slot.device) for each in it.pool.entries] == [["cpu:0"], ["cpu:1"]]
        assert it.leased == {("a", 0), ("a", 1)}
        assert it.pool.scale_up() == ["a"], "there is no third device: others are asked"


async def test_no_instance_leaves_for_a_second_one_of_another_service(scene) -> None:
    async with scene(host(groups=2), {"a": of(6 * G), "b": of(4 * G)}) as it:
        (await it.load("b")).idle_seconds = 100.0
        (await it.load("a")).backlog_seconds = 60.0
        assert it.pool.scale_up() == ["a"]
        assert it.pool.ready_services == ["a", "b"]


async def test_a_version_that_outgrew_its_slot_gets_the_whole_host(scene) -> None:
    def prepare(fake: FakeInstance) -> None:
        if not it.instances:
            fake.setup_failure = SetupOutOfMemory("MemoryError")

    async with scene(host(), {"a": Hints()}) as it:
        it.prepare = prepare
        it.pool.request("a")
        await it.wait_gone("a")
        await it.load("a")
        assert it.pool.entries[0].slot.host == 10 * G


async def test_an_unmeasured_version_has_all_free_memory_until_it_is_measured(scene) -> None:
    async with scene(host(3 * G), {"a": Hints(), "b": of(G), "c": Hints()}) as it:
        it.pool.trial_slots.record_memory("d", host=G // 10, device=0)
        await it.load("a")
        assert it.pool.entries[0].slot.host == G
        await it.load("b")
        await it.load("c")
        assert it.pool.entries[2].slot.host == G
        it.pool.trial_slots.record_memory("a", host=G // 2, device=0)
        it.pool.scheduler.shrink(it.pool.entries[0])
        assert it.pool.entries[0].slot.host == int(G / 2 * 1.1)


async def test_a_version_whose_close_failed_is_loaded_again(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        first = await it.load("a")
        first.close_fails = True
        await asyncio.wait([it.pool._leave(it.pool.entries[0], 0)])
        await it.wait_gone("a")
        assert it.pool.queues == []
        await it.load("a")
        assert len(it.instances) == 2


async def test_an_unavailable_version_is_not_leased_while_it_backs_off(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        it.missing = True
        it.pool.request("a")
        await eventually(lambda: it.pool.entries and it.pool.entries[0].is_backing_off)
        assert it.leased == set()
        assert it.instances == []


async def test_a_stop_does_not_wait_for_running_jobs(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}, turn_limit=0.05) as it:
        first = await it.load("a")
        first.is_busy = True
        it.pool.request("b")
        await eventually(lambda: it.pool.scheduler.assign_slots() or first.calls)
        async with asyncio.timeout(5):
            await it.pool.close()
        assert it.pool.entries == []


async def test_a_release_and_its_version_are_loaded_apart(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a")
        await it.load("a")
        await it.load("d1+1/a")
        assert it.pool.ready_services == ["a", "d1+1/a"]
        assert it.leased == {("a", 0), ("d1+1/a", 0)}


async def test_an_unknown_release_is_not_loaded(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.pool.request("d1+1/a")
        assert not it.pool.request_more("d1+1/a")
        assert it.pool.entries == []


async def test_a_paused_release_is_not_loaded(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", max_instances=0)
        it.pool.request("d1+1/a")
        it.pool.ensure_minimum()
        assert it.pool.entries == []


async def test_the_minimum_of_a_release_stays_until_the_release_is_gone(scene) -> None:
    async with scene(host(), {"a": of(6 * G), "b": of(6 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", min_instances=1)
        it.pool.ensure_minimum()
        await it.wait_ready("d1+1/a")
        it.pool.request("b")
        await eventually(lambda: any(each.phase == "waiting for memory" for each in it.pool.entries))
        it.pool.evict_unneeded()
        assert it.pool.ready_services == ["d1+1/a"]
        it.releases.clear()
        it.pool.evict_unneeded()
        await it.wait_ready("b")
        assert it.pool.ready_services == ["b"]


async def test_a_release_has_no_more_instances_than_its_maximum(scene) -> None:
    async with scene(host(groups=3), {"a": of(2 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", max_instances=2)
        await it.load("d1+1/a")
        assert it.pool.request_more("d1+1/a")
        await eventually(lambda: len([each for each in it.pool.entries if each.is_ready]) == 2)
        it.pool.request_more("d1+1/a")
        await eventually(lambda: len(it.pool.entries) == 2)
        assert it.leased == {("d1+1/a", 0), ("d1+1/a", 1)}
