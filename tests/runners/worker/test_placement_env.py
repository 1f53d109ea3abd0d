"""The agent's plan is take_placement out of the environment, and says how many threads there are."""

from pathlib import Path

import pytest

from runners.worker.devices.placement_env import take_placement
from runners.worker.frames import Placement
from tests.runners.worker.driver import Worker, output, running_worker, write_predictor

SEES = """
    import os, sys
    def predict() -> list:
        seen = [os.environ.get(name) for name in ("SAMOVAR_PLACEMENT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        return [*seen, [name for name in sys.modules if name.split(".")[0] in ("torch", "accelerate", "transformers")]]
"""


def test_the_plan_is_read_once():
    environ = {"SAMOVAR_PLACEMENT": '{"device": "cuda", "max_memory": {"0": 5}, "offload": "/o"}', "A": "b"}
    assert take_placement(environ) == Placement(device="cuda", max_memory={"0": 5}, offload="/o")
    assert environ == {"A": "b"}
    assert take_placement(environ) == Placement()


def test_every_library_gets_the_threads():
    environ = {"SAMOVAR_PLACEMENT": '{"threads": 3}'}
    take_placement(environ)
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    assert environ == {**dict.fromkeys(counts, "3"), "OMP_WAIT_POLICY": "PASSIVE"}


def test_the_models_own_threads_win():
    environ = {"SAMOVAR_PLACEMENT": '{"threads": 3}', "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "ACTIVE"}
    take_placement(environ)
    assert (environ["OMP_NUM_THREADS"], environ["MKL_NUM_THREADS"]) == ("1", "3")
    assert environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_user_code_finds_the_threads_and_not_the_plan(tmp_path: Path):
    plan = {"SAMOVAR_PLACEMENT": '{"max_memory": {"cpu": 1000}, "threads": 2}'}
    with running_worker(write_predictor(tmp_path, SEES), ref="predict.py:predict", environment=plan) as worker:
        assert (worker.ready().placed, worker.ready().parkable, worker.ready().device_bytes) == ({}, True, 0)
        worker.run({})
        assert output(worker.done())[:3] == [None, "2", "2"]


@pytest.mark.parametrize("plan", ["", '{"max_memory": {"cpu": 1000}, "threads": 2}'])
def test_a_predictor_without_torch_never_imports_it(tmp_path: Path, plan: str):
    worker = Worker(write_predictor(tmp_path, SEES), ref="predict.py:predict", environment={"SAMOVAR_PLACEMENT": plan})
    try:
        worker.park(True)
        worker.park(False)
        worker.run({})
        assert output(worker.done())[3] == []
    finally:
        worker.close()


def test_torch_uses_the_threads_of_the_plan(tmp_path: Path):
    code = """
        import torch
        def predict() -> int: return torch.get_num_threads()
    """
    plan = {"SAMOVAR_PLACEMENT": '{"threads": 1}'}
    with running_worker(write_predictor(tmp_path, code), ref="predict.py:predict", environment=plan) as worker:
        worker.run({})
        assert output(worker.done()) == 1
