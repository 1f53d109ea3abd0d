"""Predictor by predictor, call by call: the same as Cog's own runtime, or better on purpose."""

import pytest

from tests.conformance.cases import CASES
from tests.conformance.compare import compare
from tests.conformance.verdict import brief

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_nothing_is_different() -> None:
    verdicts = list(compare(CASES))
    different = [verdict for verdict in verdicts if verdict.kind == "different"]
    report = "\n".join(
        f"{v.case}: {v.call.name}: {v.why}\n  oracle: {brief(v.oracle)}\n  ours:   {brief(v.ours)}" for v in different
    )
    assert not different, report
    assert len(verdicts) == sum(len(case.calls) for case in CASES)
