"""What goes wrong in a model: its words reach the prediction, its death takes nobody along."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks import processes
from benchmarks.stack import Stack
from tests.live import Api

SPOKEN = [
    "one from print",
    "two from stderr",
    "three from a descriptor",
    "four from a child",
    "five: grüße",
]


async def test_everything_printed_is_in_the_logs_in_order(api: Api) -> None:
    prediction = await api.run("speaker", {})
    assert prediction["logs"].splitlines() == SPOKEN
    assert prediction["metrics"]["spoken"] == 5


async def test_a_failure_has_the_models_message_and_the_logs(api: Api) -> None:
    prediction = await api.run("speaker", {"fail": True})
    assert prediction["status"] == "failed"
    assert prediction["error"] == "lost my voice"
    assert prediction["logs"].splitlines()[: len(SPOKEN)] == SPOKEN
    assert "Traceback" in prediction["logs"]
    assert prediction["output"] is None


async def test_one_that_cannot_be_set_up_fails_with_the_reason(api: Api) -> None:
    prediction = await api.run("broken", {"text": "x"})
    assert prediction["status"] == "failed"
    assert "the weights are missing" in prediction["error"]


@pytest.mark.parametrize("how", ["exit", "segfault"])
async def test_a_job_runs_again_when_its_worker_dies(api: Api, tmp_path: Path, how: str) -> None:
    prediction = await api.run("crasher", {"times": 2, "tally": str(tmp_path / "tally"), "how": how})
    assert prediction["output"] == "died 2 times"


async def test_after_three_crashes_a_job_fails_with_what_is_known(api: Api, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    prediction = await api.run("crasher", {"times": 9, "tally": str(tally)})
    assert prediction["status"] == "failed"
    assert "13" in prediction["error"]
    assert tally.read_bytes() == b"xxx"


async def test_a_crasher_takes_nobody_along(api: Api, tmp_path: Path) -> None:
    doomed = {"times": 9, "tally": str(tmp_path / "tally")}
    sound = {"times": 0, "tally": str(tmp_path / "none")}
    predictions = await asyncio.gather(*(api.run("crasher", doomed if n == 3 else sound) for n in range(8)))
    assert [p["status"] for p in predictions] == ["failed" if n == 3 else "succeeded" for n in range(8)]


async def test_a_killed_worker_is_replaced_and_its_job_runs_again(
    api: Api, stack: Stack, closed: str, gate: Callable[[], Path]
) -> None:
    created = await api.create("gated", {"gate": closed})
    await api.wait_until(created["id"], lambda prediction: "waiting" in prediction["logs"])
    (worker,) = [w for w in processes.find(stack, "worker") if "gated" in " ".join(w.cmdline())]
    worker.kill()
    gate()
    assert (await api.wait_until_final(created["id"]))["output"] == "through"
    assert not psutil.pid_exists(worker.pid) or worker.status() == psutil.STATUS_ZOMBIE


async def test_a_batch_has_predictions_of_several_clients(api: Api) -> None:
    singers = await asyncio.gather(*(api.run("choir", {"text": str(n)}) for n in range(16)))
    assert [singer["output"].split()[0] for singer in singers] == [str(n) for n in range(16)]
    assert max(int(singer["output"].split()[-1]) for singer in singers) > 1


async def test_one_bad_item_fails_alone(api: Api) -> None:
    words = ["one", "sour", "two"]
    singers = await asyncio.gather(*(api.run("choir", {"text": word}) for word in words))
    assert [singer["status"] for singer in singers] == ["succeeded", "failed", "succeeded"]
    assert singers[1]["error"] == "a sour note"
