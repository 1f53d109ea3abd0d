"""Everything is killed in turn, JetStream is wiped once, and no accepted prediction is the worse for it."""

import os
import random
from pathlib import Path

import pytest

from tests.faults import campaign

ROUNDS = 2


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_all_accepted_predictions_succeed_whatever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.randrange(10_000)))
    report = await campaign.run(ROUNDS, seed, tmp_path)
    print(report)
    assert not report.findings, str(report)
