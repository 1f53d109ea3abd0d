"""A predictor may say whether it is well."""

from pathlib import Path

import pytest

from tests.runners.worker.driver import output, running_worker, write_predictor

ANSWERS = [
    pytest.param("return True", None, id="yes"),
    pytest.param("return None", None, id="nothing"),
    pytest.param("return False", "healthcheck returned False", id="no"),
    pytest.param("raise OSError('the card is gone')", "healthcheck failed: OSError: the card is gone", id="an error"),
    pytest.param("raise SystemExit(1)", "healthcheck failed: The predictor called sys.exit(1)", id="an exit"),
]


@pytest.mark.parametrize("predict", ["def", "async def"])
@pytest.mark.parametrize("check", ["def", "async def"])
@pytest.mark.parametrize(("body", "answer"), ANSWERS)
def test_it_answers_and_goes_on(tmp_path: Path, predict: str, check: str, body: str, answer: str | None):
    code = f"class Predictor:\n {predict} predict(self): return 1\n {check} healthcheck(self): {body}\n"
    with running_worker(write_predictor(tmp_path, code)) as worker:
        assert worker.ready().healthcheck
        assert [worker.health(), worker.health()] == [answer, answer]
        worker.run({})
        assert output(worker.done()) == 1
        assert worker.health() == answer


def test_one_without_is_well(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, "def predict(): return 1"), ref="predict.py:predict") as worker:
        assert not worker.ready().healthcheck
        assert worker.health() is None


def test_an_async_one_answers_while_it_runs(tmp_path: Path):
    code = """
        import asyncio
        class Predictor:
            async def predict(self):
                print("here")
                await asyncio.sleep(1000)
            def healthcheck(self): return True
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        worker.wait_for_log("here")
        assert worker.health() is None
        worker.stop("a")
        assert worker.done().status == "stopped"
