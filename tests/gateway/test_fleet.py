from contextlib import ExitStack
from typing import Any

import pytest
from msgspec import Struct, structs

from gateway.fleet.registry import HEARD, NOBODY, QUEUED, Fleet
from schemas.models import Presence


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Sought(Struct, frozen=True):
    id: str = "v"
    pool: str = "default"
    root: str | None = None
    pushed: bool = True


OFFERED = Sought(pushed=False)


def presence(agent: str = "a", **more: Any) -> Presence:
    return structs.replace(Presence(agent=agent, host="here", pool="default", versions=[], warm=[]), **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    return Fleet(clock)


def test_a_version_is_warm_while_anybody_has_it_warm(fleet: Fleet):
    fleet.hear(presence("a", warm=["v"]))
    fleet.hear(presence("b", warm=["v"]))
    fleet.hear(presence("a"))
    assert fleet.warm("v")
    fleet.hear(presence("b"))
    assert not fleet.warm("v")


def test_what_is_not_heard_of_for_a_while_is_gone(fleet: Fleet, clock: Clock):
    fleet.hear(presence("silent", warm=["v"]))
    clock.now += HEARD - 1
    fleet.hear(presence("other", warm=["w"]))
    assert fleet.warm("v")
    clock.now += 2
    assert not fleet.warm("v")
    assert fleet.warm("w")
    assert [each.agent for each in fleet.present()] == ["other"]


def test_a_sweep_says_when_the_next_is_due(fleet: Fleet, clock: Clock):
    assert fleet.sweep() == HEARD
    fleet.hear(presence("a"))
    clock.now += 3
    fleet.hear(presence("b"))
    assert fleet.sweep() == HEARD - 3
    clock.now += HEARD - 2
    assert fleet.sweep() == 2


def test_versions_need_not_be_said_again(fleet: Fleet):
    assert fleet.hear(presence(versions=["v"], edition="1")) == ["v"]
    assert fleet.hear(presence(edition="1", used=2)) == ["v"]
    assert fleet.reason(OFFERED) == QUEUED
    assert fleet.hear(presence(versions=["v", "w"], edition="2")) == ["v", "w"]


def test_whose_versions_were_missed_has_to_be_asked(fleet: Fleet):
    assert fleet.hear(presence("new", warm=["v"], edition="1")) is None
    assert fleet.hear(presence("new", warm=["v"], edition="1")) is None
    assert fleet.warm("v"), "what else it says counts"
    fleet.hear(presence("old", versions=["v"], edition="1"))
    assert fleet.hear(presence("old", edition="2")) is None
    assert fleet.reason(OFFERED) == QUEUED
    assert fleet.hear(presence("old", versions=["x"], edition="2")) == ["x"]
    assert fleet.hear(presence("old")) == [], "it offers nothing"


def test_runners_are_in_order(fleet: Fleet):
    for agent, host in (("z", "one"), ("a", "two"), ("b", "one")):
        fleet.hear(presence(agent, host=host))
    assert [each.agent for each in fleet.present()] == ["b", "z", "a"]


@pytest.mark.parametrize(
    ("version", "heard", "reason"),
    [
        pytest.param(Sought(), [], NOBODY, id="nobody there"),
        pytest.param(Sought(), [presence(pool="gpu", warm=["x"])], NOBODY, id="another pool"),
        pytest.param(Sought(), [presence()], QUEUED, id="somebody can fetch it"),
        pytest.param(OFFERED, [presence()], NOBODY, id="nobody has its folder"),
        pytest.param(OFFERED, [presence(versions=["v"])], QUEUED, id="somebody has its folder"),
        pytest.param(
            Sought(pushed=False, root="r"), [presence(versions=["r"])], QUEUED, id="trained from what somebody has"
        ),
        pytest.param(Sought(), [presence(warm=["v"])], QUEUED, id="warm"),
        pytest.param(Sought(), [presence(starting={"v": "building"})], "building", id="on its way"),
        pytest.param(Sought(), [presence(starting={"v": "stretching"})], "stretching", id="a phase of tomorrow"),
        pytest.param(Sought(), [presence(starting={"w": "building"})], QUEUED, id="another is on its way"),
        pytest.param(
            Sought(), [presence("a", warm=["v"]), presence("b", starting={"v": "loading"})], QUEUED, id="a second one"
        ),
        pytest.param(
            Sought(),
            [presence(agent, starting={"v": phase}) for agent, phase in (("a", "loading"), ("b", "building"))],
            "loading",
            id="the furthest counts",
        ),
    ],
)
def test_why_a_prediction_has_not_begun(fleet: Fleet, version: Sought, heard: list[Presence], reason: str):
    for each in heard:
        fleet.hear(each)
    assert fleet.reason(version) == reason


def test_those_who_watch_are_stirred_when_the_reason_changes_and_only_then(fleet: Fleet, clock: Clock):
    told: list[str] = []
    with fleet.watch(Sought(), lambda: told.append(fleet.reason(Sought()))):
        fleet.hear(presence(starting={"v": "loading"}, used=1))
        fleet.hear(presence(starting={"v": "loading", "w": "building"}, used=2))
        fleet.hear(presence(warm=["v"]))
        clock.now += HEARD + 1
        fleet.sweep()
    fleet.hear(presence(starting={"v": "loading"}))
    assert told == ["loading", QUEUED, NOBODY]


def test_those_who_listen_hear_of_every_word_and_of_silence(fleet: Fleet, clock: Clock):
    told: list[int] = []
    with fleet.listen(lambda: told.append(len(fleet.present()))):
        fleet.hear(presence())
        fleet.hear(presence())
        clock.now += HEARD + 1
        fleet.sweep()
    fleet.hear(presence())
    assert told == [1, 1, 0]


def test_one_who_leaves_leaves_the_others_watching(fleet: Fleet):
    told: list[str] = []
    with ExitStack() as first, fleet.watch(Sought(), lambda: told.append("second")):
        first.enter_context(fleet.watch(Sought(), lambda: told.append("first")))
        fleet.hear(presence())
        first.close()
        fleet.hear(presence(starting={"v": "loading"}))
    assert told == ["second", "first", "second"]
