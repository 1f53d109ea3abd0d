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


OFFERED = FakeVersion(is_pushed=False)


def presence(agent: str = "a", **more: Any) -> Heartbeat:
    return structs.replace(Heartbeat(agent=agent, host="here", pool="default", versions=[], warm=[]), **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> FleetRegistry:
    return FleetRegistry(clock)


def test_a_version_is_warm_while_anybody_has_it_warm(fleet: FleetRegistry):
    fleet.record_heartbeat(presence("a", warm=["v"]))
    fleet.record_heartbeat(presence("b", warm=["v"]))
    fleet.record_heartbeat(presence("a"))
    assert fleet.is_warm("v")
    fleet.record_heartbeat(presence("b"))
    assert not fleet.is_warm("v")


def test_what_is_not_heard_of_for_a_while_is_gone(fleet: FleetRegistry, clock: Clock):
    fleet.record_heartbeat(presence("silent", warm=["v"]))
    clock.now += SILENCE_SECONDS - 1
    fleet.record_heartbeat(presence("other", warm=["w"]))
    assert fleet.is_warm("v")
    clock.now += 2
    assert not fleet.is_warm("v")
    assert fleet.is_warm("w")
    assert [each.agent for each in fleet.list_runners()] == ["other"]


def test_a_sweep_says_when_the_next_is_due(fleet: FleetRegistry, clock: Clock):
    assert fleet.sweep() == SILENCE_SECONDS
    fleet.record_heartbeat(presence("a"))
    clock.now += 3
    fleet.record_heartbeat(presence("b"))
    assert fleet.sweep() == SILENCE_SECONDS - 3
    clock.now += SILENCE_SECONDS - 2
    assert fleet.sweep() == 2


def test_versions_need_not_be_said_again(fleet: FleetRegistry):
    assert fleet.record_heartbeat(presence(versions=["v"], edition="1")) == ["v"]
    assert fleet.record_heartbeat(presence(edition="1", used=2)) == ["v"]
    assert fleet.waiting_reason(OFFERED) == QUEUED
    assert fleet.record_heartbeat(presence(versions=["v", "w"], edition="2")) == ["v", "w"]


def test_whose_versions_were_missed_has_to_be_asked(fleet: FleetRegistry):
    assert fleet.record_heartbeat(presence("new", warm=["v"], edition="1")) is None
    assert fleet.record_heartbeat(presence("new", warm=["v"], edition="1")) is None
    assert fleet.is_warm("v"), "what else it says counts"
    fleet.record_heartbeat(presence("old", versions=["v"], edition="1"))
    assert fleet.record_heartbeat(presence("old", edition="2")) is None
    assert fleet.waiting_reason(OFFERED) == QUEUED
    assert fleet.record_heartbeat(presence("old", versions=["x"], edition="2")) == ["x"]
    assert fleet.record_heartbeat(presence("old")) == [], "it offers nothing"


def test_runners_are_in_order(fleet: FleetRegistry):
    for agent, host in (("z", "one"), ("a", "two"), ("b", "one")):
        fleet.record_heartbeat(presence(agent, host=host))
    assert [each.agent for each in fleet.list_runners()] == ["b", "z", "a"]


@pytest.mark.parametrize(
    ("version", "heard", "reason"),
    [
        pytest.param(FakeVersion(), [], NO_RUNNER, id="nobody there"),
        pytest.param(FakeVersion(), [presence(pool="gpu", warm=["x"])], NO_RUNNER, id="another pool"),
        pytest.param(FakeVersion(), [presence()], QUEUED, id="somebody can fetch it"),
        pytest.param(OFFERED, [presence()], NO_RUNNER, id="nobody has its folder"),
        pytest.param(OFFERED, [presence(versions=["v"])], QUEUED, id="somebody has its folder"),
        pytest.param(
            FakeVersion(is_pushed=False, root="r"),
            [presence(versions=["r"])],
            QUEUED,
            id="trained from what somebody has",
        ),
        pytest.param(FakeVersion(), [presence(warm=["v"])], QUEUED, id="warm"),
        pytest.param(FakeVersion(), [presence(starting={"v": "building"})], "building", id="on its way"),
        pytest.param(FakeVersion(), [presence(starting={"v": "stretching"})], "stretching", id="a phase of tomorrow"),
        pytest.param(FakeVersion(), [presence(starting={"w": "building"})], QUEUED, id="another is on its way"),
        pytest.param(
            FakeVersion(),
            [presence("a", warm=["v"]), presence("b", starting={"v": "loading"})],
            QUEUED,
            id="a second one",
        ),
        pytest.param(
            FakeVersion(),
            [presence(agent, starting={"v": phase}) for agent, phase in (("a", "loading"), ("b", "building"))],
            "loading",
            id="the furthest counts",
        ),
    ],
)
def test_why_a_prediction_has_not_begun(
    fleet: FleetRegistry, version: FakeVersion, heard: list[Heartbeat], reason: str
):
    for each in heard:
        fleet.record_heartbeat(each)
    assert fleet.waiting_reason(version) == reason


def test_those_who_watch_are_stirred_when_the_reason_changes_and_only_then(fleet: FleetRegistry, clock: Clock):
    told: list[str] = []
    with fleet.watch(FakeVersion(), lambda: told.append(fleet.waiting_reason(FakeVersion()))):
        fleet.record_heartbeat(presence(starting={"v": "loading"}, used=1))
        fleet.record_heartbeat(presence(starting={"v": "loading", "w": "building"}, used=2))
        fleet.record_heartbeat(presence(warm=["v"]))
        clock.now += SILENCE_SECONDS + 1
        fleet.sweep()
    fleet.record_heartbeat(presence(starting={"v": "loading"}))
    assert told == ["loading", QUEUED, NO_RUNNER]


def test_those_who_listen_hear_of_every_word_and_of_silence(fleet: FleetRegistry, clock: Clock):
    told: list[int] = []
    with fleet.listen(lambda: told.append(len(fleet.list_runners()))):
        fleet.record_heartbeat(presence())
        fleet.record_heartbeat(presence())
        clock.now += SILENCE_SECONDS + 1
        fleet.sweep()
    fleet.record_heartbeat(presence())
    assert told == [1, 1, 0]


def test_one_who_leaves_leaves_the_others_watching(fleet: FleetRegistry):
    told: list[str] = []
    with ExitStack() as first, fleet.watch(FakeVersion(), lambda: told.append("second")):
        first.enter_context(fleet.watch(FakeVersion(), lambda: told.append("first")))
        fleet.record_heartbeat(presence())
        first.close()
        fleet.record_heartbeat(presence(starting={"v": "loading"}))
    assert told == ["second", "first", "second"]
