"""The judge itself: what it calls same, better, different."""

import pytest

from tests.conformance.cases import CASES
from tests.conformance.outcome import Call, Outcome
from tests.conformance.reasons import REASONS
from tests.conformance.scene import PREDICTORS
from tests.conformance.verdict import judge

FINE = Outcome(status="succeeded", output={"a": 1, "b": [2.0]}, logs="said\n")
FAILED = Outcome(status="failed", error="ValueError: no such voice")


def verdict(oracle: Outcome, ours: Outcome, *better: str, may_differ_in_wording: bool = False) -> str:
    return judge("x", Call(name="x", better=better, may_differ_in_wording=may_differ_in_wording), oracle, ours).kind


SAME = [
    pytest.param(FINE, FINE, id="equal"),
    pytest.param(FINE, Outcome(status="succeeded", output={"b": [2.0], "a": 1}, logs="said\n"), id="another order"),
    pytest.param(FAILED, Outcome(status="failed", error="no such voice"), id="an error without its type"),
    pytest.param(
        Outcome(status="failed", error="KeyError: "), Outcome(status="failed", error="KeyError"), id="without a text"
    ),
]

DIFFERENT = [
    pytest.param(FINE, Outcome(status="failed", output={"a": 1, "b": [2.0]}, logs="said\n"), id="status"),
    pytest.param(FINE, Outcome(status="succeeded", output={"a": 1, "b": [2]}, logs="said\n"), id="2 for 2.0"),
    pytest.param(FINE, Outcome(status="succeeded", output={"a": True, "b": [2.0]}, logs="said\n"), id="true for 1"),
    pytest.param(FINE, Outcome(status="succeeded", output={"a": 1, "b": [2.0]}, logs="said"), id="logs"),
    pytest.param(FAILED, Outcome(status="failed", error="no voice"), id="another error"),
    pytest.param(FAILED, Outcome(status="failed"), id="no error"),
    pytest.param(Outcome(status="no answer"), Outcome(status="no answer"), id="two that broke down"),
]


@pytest.mark.parametrize(("oracle", "ours"), SAME)
def test_outcomes_that_are_the_same(oracle: Outcome, ours: Outcome) -> None:
    assert verdict(oracle, ours) == "same"


@pytest.mark.parametrize(("oracle", "ours"), DIFFERENT)
def test_outcomes_that_are_different(oracle: Outcome, ours: Outcome) -> None:
    assert verdict(oracle, ours) == "different"


def test_a_reason_that_shows_excuses_what_it_is_about() -> None:
    ours = Outcome(status="failed", error="no such voice", logs="Traceback …")
    assert verdict(FAILED, ours, "logs kept") == "better"


def test_a_reason_excuses_nothing_else() -> None:
    ours = Outcome(status="failed", error="no such voice", logs="Traceback …", metrics={"n": 1})
    assert verdict(FAILED, ours, "logs kept") == "different"


def test_a_reason_that_does_not_show_is_a_difference() -> None:
    assert verdict(FAILED, FAILED, "logs kept") == "different"


def test_the_wording_may_differ_but_there_must_be_a_reason() -> None:
    assert verdict(FAILED, Outcome(status="failed", error="voice: none"), may_differ_in_wording=True) == "same"
    assert verdict(FAILED, Outcome(status="failed"), may_differ_in_wording=True) == "different"


def test_every_predictor_is_called_and_every_reason_is_needed() -> None:
    assert {case.predictor for case in CASES} == {folder.name for folder in PREDICTORS.iterdir()}
    assert {name for case in CASES for call in case.calls for name in call.better} == set(REASONS)
