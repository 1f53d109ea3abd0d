"""The agent's plan is taken out of the environment, and says how many threads there are."""

from pathlib import Path

import pytest

from runners.worker.devices.placement_env import taken
from runners.worker.frames import Placement
from tests.runners.worker.driver import Worker, output, working, write

SEES = """
    import os, sys
    def predict() -> list:
        seen = [os.environ.get(name) for name in ("SAMOVAR_PLACEMENT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        return [*seen, [name for name in sys.modules if name.split(".")[0] in ("torch", "accelerate", "transformers")]]
"""


def test_it_is_read_once():
    environ = {"SAMOVAR_PLACEMENT": '{"device": "cuda", "max_memory": {"0": 5}, "offload": "/o"}', "A": "b"}
    assert taken(environ) == Placement(device="cuda", max_memory={"0": 5}, offload="/o")
    assert environ == {"A": "b"}
    assert taken(environ) == Placement()


def test_threads_are_for_every_library():
    environ = {"SAMOVAR_PLACEMENT": '{"threads": 3}'}
    taken(environ)
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    assert environ == {**dict.fromkeys(counts, "3"), "OMP_WAIT_POLICY": "PASSIVE"}


def test_what_the_model_says_of_threads_counts():
    environ = {"SAMOVAR_PLACEMENT": '{"threads": 3}', "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "ACTIVE"}
    taken(environ)
    assert (environ["OMP_NUM_THREADS"], environ["MKL_NUM_THREADS"]) == ("1", "3")
    assert environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_user_code_finds_the_threads_and_not_the_plan(tmp_path: Path):
    plan = {"SAMOVAR_PLACEMENT": '{"max_memory": {"cpu": 1000}, "threads": 2}'}
    with working(write(tmp_path, SEES), ref="predict.py:predict", environment=plan) as worker:
        assert (worker.ready().placed, worker.ready().parkable, worker.ready().device_bytes) == ({}, True, 0)
        worker.run({})
        assert output(worker.done())[:3] == [None, "2", "2"]


@pytest.mark.parametrize("plan", ["", '{"max_memory": {"cpu": 1000}, "threads": 2}'])
def test_a_predictor_without_torch_never_imports_it(tmp_path: Path, plan: str):
    worker = Worker(write(tmp_path, SEES), ref="predict.py:predict", environment={"SAMOVAR_PLACEMENT": plan})
    try:
        worker.park(True)
        worker.park(False)
        worker.run({})
        assert output(worker.done())[3] == []
    finally:
        worker.close()


def test_torch_uses_the_threads_it_was_given(tmp_path: Path):
    code = """
        import torch
        def predict() -> int: return torch.get_num_threads()
    """
    plan = {"SAMOVAR_PLACEMENT": '{"threads": 1}'}
    with working(write(tmp_path, code), ref="predict.py:predict", environment=plan) as worker:
        worker.run({})
        assert output(worker.done()) == 1
