"""Who is resident, who leaves for whom, and when: with instances that only write down what is asked of them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, convert

from runners.broker.leases import Claim
from runners.errors import Outgrown, Unavailable
from runners.instances.pool import Parts, Pool
from runners.instances.slot import Ticking
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints, Needs
from runners.placement.planner import CPU, Device, Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Release
from tests.runners.conftest import eventually

G = 10**9


class Named(Struct):
    name: str
    hints: Hints = Hints()


class Fake:
    """An instance that is loaded at once, and does what a test says."""

    inbox: Ticking
    parkable = True
    device_bytes = 0
    pid = None
    largest = 0
    load_seconds = 0.0
    failure = None

    def __init__(self, version: str, hints: Hints) -> None:
        self.model = Named(version, hints)
        self.ready = False
        self.ready_at = 0.0
        self.busy = False
        self.running = 0
        self.waiting = 0
        self.backlog = 0.0
        self.idle_for = 0.0
        self.said: list[str] = []
        self.broken: Exception | None = None
        self.stumbles = False
        self.finished = asyncio.Event()
        self.loads = asyncio.Event()
        self.loads.set()
        self.given: Given | None = None

    async def keep(self, pause: float, given: Callable[[Path], Given]) -> bool:
        if self.broken is not None:
            raise self.broken
        self.given = given(Path("/offload"))
        await self.loads.wait()
        self.ready, self.ready_at = True, time.monotonic()
        await asyncio.Event().wait()
        return True

    async def close(self, drain: float, hurry: asyncio.Event) -> None:
        self.ready = False
        self.said.append("close")
        if self.stumbles:
            raise RuntimeError("stumbled")
        if self.busy:
            waits = [asyncio.ensure_future(event.wait()) for event in (self.finished, hurry)]
            await asyncio.wait(waits, timeout=drain, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def park(self) -> bool:
        self.ready = False
        self.said.append("park")
        return True

    async def unpark(self) -> bool:
        self.ready = True
        self.said.append("unpark")
        return True

    def replace(self, reason: str) -> None: ...
    def kill(self, reason: str) -> None: ...


class Scene:
    """A pool and all that it needs: a host, versions, claims."""

    def __init__(self, host: Host, tmp_path: Path, hints: Mapping[str, Hints], **settings: Any) -> None:
        self.made: list[Fake] = []
        self.taken: set[tuple[str, int]] = set()
        self.lefts = 0
        self._hints = hints
        self.prepare: Callable[[Fake], None] = lambda _: None
        self.missing = False
        self.releases: dict[str, Release] = {}
        parts = Parts(
            host=host,
            settings=convert({"min_residency": 0, **settings}, Settings),
            serving=self,
            claims=self,
            needs=Needs(tmp_path / "needs"),
            releases=lambda: self.releases,
            left=self._left,
        )
        self.pool = Pool(hints, parts)

    def _left(self) -> None:
        self.lefts += 1

    async def ours(self, version: str) -> bool:
        if self.missing:
            raise Unavailable("no file store")
        return version in self._hints

    async def find(self, service: str, say: Callable[[str], None]) -> Fake:
        fake = Fake(service, self._hints[subjects.version_of(service)])
        self.prepare(fake)
        self.made.append(fake)
        return fake

    def hints(self) -> Mapping[str, Hints]:
        return self._hints

    async def take(self, version: str, numbers: range) -> Claim | None:
        for number in numbers:
            if (version, number) not in self.taken:
                self.taken.add((version, number))
                return Claim(version, number, 1)
        return None

    async def release(self, claim: Claim) -> None:
        self.taken.discard((claim.service, claim.number))

    async def hot(self, version: str) -> Fake:
        """Wanted, and there."""
        self.pool.want(version)
        return await self.there(version)

    async def there(self, version: str) -> Fake:
        await eventually(lambda: version in self.pool.warm)
        return next(fake for fake in reversed(self.made) if fake.model.name == version and fake.ready)

    async def gone(self, version: str) -> None:
        await eventually(lambda: version not in self.pool.here)


def host(memory: int = 10 * G, *, groups: int = 1, device: int | None = None) -> Host:
    devices = [Device(name=f"cpu:{n}", kind=CPU, label="", memory=device or memory) for n in range(groups)]
    return Host(memory=memory, devices=tuple(devices))


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def made(host: Host, hints: Mapping[str, Hints], **settings: Any):
        scene = Scene(host, tmp_path, hints, **settings)
        yield scene
        await scene.pool.close()
        assert scene.taken == set()

    return made


def of(memory: int, **more: Any) -> Hints:
    return Hints(memory=memory, **more)


async def test_what_is_wanted_is_loaded_and_claimed(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        await it.hot("a")
        assert it.taken == {("a", 0)}
        it.pool.want("a")
        assert len(it.made) == 1


async def test_what_somebody_else_has_is_left_to_them(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.taken.add(("a", 0))
        it.pool.want("a")
        await it.gone("a")
        assert it.made == []
        it.taken.clear()


async def test_the_one_used_longest_ago_leaves_for_another(scene) -> None:
    async with scene(host(), {name: of(4 * G) for name in "abc"}) as it:
        (await it.hot("a")).idle_for = 1.0
        (await it.hot("b")).idle_for = 9.0
        await it.hot("c")
        assert it.pool.warm == ["a", "c"]
        assert it.pool.counts["evictions"] == 1
        assert it.lefts == 1


async def test_who_works_stays_until_it_has_nothing_to_do(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}) as it:
        first = await it.hot("a")
        first.busy = True
        it.pool.want("b")
        await eventually(lambda: any(each.phase == "waiting for memory" for each in it.pool.residents))
        assert it.pool.warm == ["a"]
        first.busy = False
        it.pool.seating.arrange()
        await it.there("b")
        assert it.pool.warm == ["b"]


async def test_a_queue_is_worked_off_before_others_get_the_room(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}) as it:
        first = await it.hot("a")
        first.waiting = 3
        it.pool.want("b")
        await eventually(lambda: len(it.made) == 2)
        it.pool.seating.arrange()
        assert it.pool.warm == ["a"]
        first.waiting = 0
        it.pool.seating.arrange()
        await it.there("b")


async def test_one_that_always_has_work_leaves_after_its_turn(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}, turn_limit=0.05) as it:
        first = await it.hot("a")
        first.busy = True
        it.pool.want("b")
        await eventually(lambda: it.pool.seating.arrange() or first.said)
        assert it.pool.warm == []
        first.finished.set()
        await it.there("b")


async def test_a_model_stays_for_a_while_before_it_makes_room(scene) -> None:
    """As long as its loading took, up to a limit."""
    async with scene(host(), {name: of(6 * G) for name in "ab"}, min_residency=0.2) as it:
        first = await it.hot("a")
        first.load_seconds = 9.0
        it.pool.want("b")
        await eventually(lambda: it.pool.seating.arrange() or first.said)
        second = await it.there("b")
        assert second.ready_at - first.ready_at >= 0.2


async def test_a_device_smaller_than_the_host_is_emptied_by_parking(scene) -> None:
    async with scene(host(device=5 * G), {name: of(4 * G) for name in "ab"}) as it:
        first = await it.hot("a")
        await it.hot("b")
        assert (first.said, it.pool.warm) == (["park"], ["b"])
        it.pool.want("a")
        await it.there("a")
        assert first.said == ["park", "unpark"]
        assert len(it.made) == 2
        assert (it.pool.counts["loads"], it.pool.counts["parks"], it.pool.counts["unparks"]) == (2, 2, 1)


async def test_what_has_to_be_there_is_there_and_stays(scene) -> None:
    async with scene(host(), {"a": of(6 * G, min_instances=1), "b": of(6 * G)}, idle_timeout=0.01) as it:
        it.pool.keep_least()
        first = await it.there("a")
        first.idle_for = 100.0
        it.pool.dismiss()
        it.pool.want("b")
        await eventually(lambda: len(it.made) == 2)
        it.pool.seating.arrange()
        assert (first.said, it.pool.warm) == ([], ["a"])


async def test_who_is_idle_for_too_long_goes(scene) -> None:
    async with scene(host(), {"a": of(G, idle_timeout=5.0), "b": of(G)}, idle_timeout=0) as it:
        for name in "ab":
            (await it.hot(name)).idle_for = 5.5
        it.pool.dismiss()
        await it.gone("a")
        assert it.pool.warm == ["b"]


async def test_who_is_being_loaded_is_not_idle(scene) -> None:
    def prepare(fake: Fake) -> None:
        fake.loads.clear()
        fake.idle_for = 100.0

    async with scene(host(), {"a": of(G)}, idle_timeout=1.0) as it:
        it.prepare = prepare
        it.pool.want("a")
        await eventually(lambda: it.made and it.made[0].given)
        it.pool.dismiss()
        assert it.made[0].said == []
        it.made[0].loads.set()
        await it.there("a")


async def test_who_is_somebody_elses_by_now_goes(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        await it.hot("a")
        next(each.claim for each in it.pool.residents).lost.set()
        it.pool.dismiss()
        await it.gone("a")


async def test_a_deep_queue_is_worth_another_device(scene) -> None:
    async with scene(host(groups=2), {"a": of(G)}) as it:
        (await it.hot("a")).backlog = 60.0
        assert it.pool.deepen() == []
        await eventually(lambda: sum(each.ready for each in it.pool.residents) == 2)
        assert [list(each.seat.device) for each in it.pool.residents] == [["cpu:0"], ["cpu:1"]]
        assert it.taken == {("a", 0), ("a", 1)}
        assert it.pool.deepen() == ["a"], "there is no third device: others are asked"


async def test_nobody_leaves_for_a_second_instance(scene) -> None:
    async with scene(host(groups=2), {"a": of(6 * G), "b": of(4 * G)}) as it:
        (await it.hot("b")).idle_for = 100.0
        (await it.hot("a")).backlog = 60.0
        assert it.pool.deepen() == ["a"]
        assert it.pool.warm == ["a", "b"]


async def test_one_that_outgrew_its_seat_gets_all_there_is(scene) -> None:
    def prepare(fake: Fake) -> None:
        if not it.made:
            fake.broken = Outgrown("MemoryError")

    async with scene(host(), {"a": Hints()}) as it:
        it.prepare = prepare
        it.pool.want("a")
        await it.gone("a")
        await it.hot("a")
        assert it.pool.residents[0].seat.host == 10 * G


async def test_an_unknown_one_has_all_that_is_free_until_it_is_known(scene) -> None:
    async with scene(host(3 * G), {"a": Hints(), "b": of(G), "c": Hints()}) as it:
        it.pool.learn("d", host=G // 10, device=0)
        await it.hot("a")
        assert it.pool.residents[0].seat.host == G
        await it.hot("b")
        await it.hot("c")
        assert it.pool.residents[2].seat.host == G
        it.pool.learn("a", host=G // 2, device=0)
        it.pool.seating.shrink(it.pool.residents[0])
        assert it.pool.residents[0].seat.host == int(G / 2 * 1.1)


async def test_a_version_that_did_not_leave_well_is_loaded_again(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        first = await it.hot("a")
        first.stumbles = True
        await asyncio.wait([it.pool._leave(it.pool.residents[0], 0)])
        await it.gone("a")
        assert it.pool.inboxes == []
        await it.hot("a")
        assert len(it.made) == 2


async def test_what_cannot_be_had_is_anybodys_meanwhile(scene) -> None:
    async with scene(host(), {"a": of(G)}) as it:
        it.missing = True
        it.pool.want("a")
        await eventually(lambda: it.pool.residents and it.pool.residents[0].paused)
        assert it.taken == set()
        assert it.made == []


async def test_an_agent_that_stops_waits_for_nobody(scene) -> None:
    async with scene(host(), {name: of(6 * G) for name in "ab"}, turn_limit=0.05) as it:
        first = await it.hot("a")
        first.busy = True
        it.pool.want("b")
        await eventually(lambda: it.pool.seating.arrange() or first.said)
        async with asyncio.timeout(5):
            await it.pool.close()
        assert it.pool.residents == []


async def test_a_release_and_its_version_are_loaded_apart(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a")
        await it.hot("a")
        await it.hot("d1+1/a")
        assert it.pool.warm == ["a", "d1+1/a"]
        assert it.taken == {("a", 0), ("d1+1/a", 0)}


async def test_a_release_that_nobody_told_of_is_not_loaded(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.pool.want("d1+1/a")
        assert not it.pool.want_more("d1+1/a")
        assert it.pool.residents == []


async def test_a_paused_release_is_not_loaded(scene) -> None:
    async with scene(host(), {"a": of(4 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", max_instances=0)
        it.pool.want("d1+1/a")
        it.pool.keep_least()
        assert it.pool.residents == []


async def test_what_a_release_keeps_leaves_for_nobody_until_it_is_gone(scene) -> None:
    async with scene(host(), {"a": of(6 * G), "b": of(6 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", min_instances=1)
        it.pool.keep_least()
        await it.there("d1+1/a")
        it.pool.want("b")
        await eventually(lambda: any(each.phase == "waiting for memory" for each in it.pool.residents))
        it.pool.dismiss()
        assert it.pool.warm == ["d1+1/a"]
        it.releases.clear()
        it.pool.dismiss()
        await it.there("b")
        assert it.pool.warm == ["b"]


async def test_a_release_has_no_more_instances_than_it_may(scene) -> None:
    async with scene(host(groups=3), {"a": of(2 * G)}) as it:
        it.releases["d1+1/a"] = Release(pool="d1+1", model="acme/a", version="a", max_instances=2)
        await it.hot("d1+1/a")
        assert it.pool.want_more("d1+1/a")
        await eventually(lambda: len([each for each in it.pool.residents if each.ready]) == 2)
        it.pool.want_more("d1+1/a")
        await eventually(lambda: len(it.pool.residents) == 2)
        assert it.taken == {("d1+1/a", 0), ("d1+1/a", 1)}
