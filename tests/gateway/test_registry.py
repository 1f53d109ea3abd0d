from contextlib import ExitStack
from typing import Any

import pytest
from msgspec import Struct, structs

from gateway.fleet.registry import NO_RUNNER, QUEUED, SILENCE_SECONDS, FleetRegistry
from schemas.models import Heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeVersion(Struct, frozen=True):
    id: str = "v"
    pool: str = "default"
    root: str | None = None
    is_pushed: bool = True


LOCAL_VERSION = FakeVersion(is_pushed=False)


def heartbeat(agent: str = "a", **more: Any) -> Heartbeat:
    return structs.replace(Heartbeat(agent=agent, host="here", pool="default", versions=[], warm=[]), **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> FleetRegistry:
    return FleetRegistry(clock)


def test_a_version_is_warm_while_any_runner_has_it_warm(fleet: FleetRegistry):
    fleet.record_heartbeat(heartbeat("a", warm=["v"]))
    fleet.record_heartbeat(heartbeat("b", warm=["v"]))
    fleet.record_heartbeat(heartbeat("a"))
    assert fleet.is_warm("v")
    fleet.record_heartbeat(heartbeat("b"))
    assert not fleet.is_warm("v")


def test_a_silent_runner_is_forgotten(fleet: FleetRegistry, clock: Clock):
    fleet.record_heartbeat(heartbeat("silent", warm=["v"]))
    clock.now += SILENCE_SECONDS - 1
    fleet.record_heartbeat(heartbeat("other", warm=["w"]))
    assert fleet.is_warm("v")
    clock.now += 2
    assert not fleet.is_warm("v")
    assert fleet.is_warm("w")
    assert [each.agent for each in fleet.list_runners()] == ["other"]


def test_a_sweep_returns_when_the_next_is_due(fleet: FleetRegistry, clock: Clock):
    assert fleet.sweep() == SILENCE_SECONDS
    fleet.record_heartbeat(heartbeat("a"))
    clock.now += 3
    fleet.record_heartbeat(heartbeat("b"))
    assert fleet.sweep() == SILENCE_SECONDS - 3
    clock.now += SILENCE_SECONDS - 2
    assert fleet.sweep() == 2


def test_a_heartbeat_may_leave_out_versions_of_a_known_edition(fleet: FleetRegistry):
    assert fleet.record_heartbeat(heartbeat(versions=["v"], edition="1")) == ["v"]
    assert fleet.record_heartbeat(heartbeat(edition="1", used=2)) == ["v"]
    assert fleet.waiting_reason(LOCAL_VERSION) == QUEUED
    assert fleet.record_heartbeat(heartbeat(versions=["v", "w"], edition="2")) == ["v", "w"]


def test_a_runner_of_an_unknown_edition_has_to_be_asked(fleet: FleetRegistry):
    assert fleet.record_heartbeat(heartbeat("new", warm=["v"], edition="1")) is None
    assert fleet.record_heartbeat(heartbeat("new", warm=["v"], edition="1")) is None
    assert fleet.is_warm("v"), "what else it says counts"
    fleet.record_heartbeat(heartbeat("old", versions=["v"], edition="1"))
    assert fleet.record_heartbeat(heartbeat("old", edition="2")) is None
    assert fleet.waiting_reason(LOCAL_VERSION) == QUEUED
    assert fleet.record_heartbeat(heartbeat("old", versions=["x"], edition="2")) == ["x"]
    assert fleet.record_heartbeat(heartbeat("old")) == [], "it offers nothing"


def test_runners_are_listed_by_host(fleet: FleetRegistry):
    for agent, host in (("z", "one"), ("a", "two"), ("b", "one")):
        fleet.record_heartbeat(heartbeat(agent, host=host))
    assert [each.agent for each in fleet.list_runners()] == ["b", "z", "a"]


@pytest.mark.parametrize(
    ("version", "heard", "reason"),
    [
        pytest.param(FakeVersion(), [], NO_RUNNER, id="nobody there"),
        pytest.param(FakeVersion(), [heartbeat(pool="gpu", warm=["x"])], NO_RUNNER, id="another pool"),
        pytest.param(FakeVersion(), [heartbeat()], QUEUED, id="somebody can fetch it"),
        pytest.param(LOCAL_VERSION, [heartbeat()], NO_RUNNER, id="nobody has its folder"),
        pytest.param(LOCAL_VERSION, [heartbeat(versions=["v"])], QUEUED, id="somebody has its folder"),
        pytest.param(
            FakeVersion(is_pushed=False, root="r"),
            [heartbeat(versions=["r"])],
            QUEUED,
            id="trained from what somebody has",
        ),
        pytest.param(FakeVersion(), [heartbeat(warm=["v"])], QUEUED, id="warm"),
        pytest.param(FakeVersion(), [heartbeat(starting={"v": "building"})], "building", id="on its way"),
        pytest.param(FakeVersion(), [heartbeat(starting={"v": "stretching"})], "stretching", id="a phase of tomorrow"),
        pytest.param(FakeVersion(), [heartbeat(starting={"w": "building"})], QUEUED, id="another is on its way"),
        pytest.param(
            FakeVersion(),
            [heartbeat("a", warm=["v"]), heartbeat("b", starting={"v": "loading"})],
            QUEUED,
            id="a second one",
        ),
        pytest.param(
            FakeVersion(),
            [heartbeat(agent, starting={"v": phase}) for agent, phase in (("a", "loading"), ("b", "building"))],
            "loading",
            id="the furthest counts",
        ),
    ],
)
def test_the_waiting_reason_follows_the_heartbeats(
    fleet: FleetRegistry, version: FakeVersion, heard: list[Heartbeat], reason: str
):
    for each in heard:
        fleet.record_heartbeat(each)
    assert fleet.waiting_reason(version) == reason


def test_watchers_are_called_only_when_the_reason_changes(fleet: FleetRegistry, clock: Clock):
    told: list[str] = []
    with fleet.watch(FakeVersion(), lambda: told.append(fleet.waiting_reason(FakeVersion()))):
        fleet.record_heartbeat(heartbeat(starting={"v": "loading"}, used=1))
        fleet.record_heartbeat(heartbeat(starting={"v": "loading", "w": "building"}, used=2))
        fleet.record_heartbeat(heartbeat(warm=["v"]))
        clock.now += SILENCE_SECONDS + 1
        fleet.sweep()
    fleet.record_heartbeat(heartbeat(starting={"v": "loading"}))
    assert told == ["loading", QUEUED, NO_RUNNER]


def test_listeners_are_called_for_every_heartbeat_and_for_silence(fleet: FleetRegistry, clock: Clock):
    told: list[int] = []
    with fleet.listen(lambda: told.append(len(fleet.list_runners()))):
        fleet.record_heartbeat(heartbeat())
        fleet.record_heartbeat(heartbeat())
        clock.now += SILENCE_SECONDS + 1
        fleet.sweep()
    fleet.record_heartbeat(heartbeat())
    assert told == [1, 1, 0]


def test_one_watcher_may_leave_and_the_others_stay(fleet: FleetRegistry):
    told: list[str] = []
    with ExitStack() as first, fleet.watch(FakeVersion(), lambda: told.append("second")):
        first.enter_context(fleet.watch(FakeVersion(), lambda: told.append("first")))
        fleet.record_heartbeat(heartbeat())
        first.close()
        fleet.record_heartbeat(heartbeat(starting={"v": "loading"}))
    assert told == ["second", "first", "second"]
