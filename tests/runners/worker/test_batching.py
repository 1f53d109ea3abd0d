"""Batches in a worker: one call for many, and what each of them gets of it."""

from pathlib import Path

import pytest

from runners.worker.frames import Began
from tests.runners.worker.driver import output, working, write

BATCH = """
import time, os
class Predictor:
    max_batch_size = 8
    max_batch_wait_ms = 5
    def predict(self, n: int) -> int:
        print("alone", n)
        if n == 13: raise ValueError("thirteen")
        return n * 2
    def predict_batch(self, inputs):
        print("together", [i["n"] for i in inputs])
        if any(i["n"] == 13 for i in inputs): raise RuntimeError("one of them")
        while os.path.exists("wait"): time.sleep(0.001)
        return [ValueError("seven") if i["n"] == 7 else i["n"] * 2 for i in inputs]
"""


def test_a_predictor_says_how_it_wants_its_batches(tmp_path: Path):
    with working(write(tmp_path, BATCH)) as worker:
        assert (worker.ready().max_batch_size, worker.ready().max_batch_wait_ms) == (8, 5.0)
    with working(tmp_path, environment={"SAMOVAR_MAX_BATCH_SIZE": "3"}) as worker:
        assert worker.ready().max_batch_size == 3


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        pytest.param("()", {}, id="nothing"),
        pytest.param("'width'", {"width": b"512"}, id="one"),
        pytest.param("['width', 'mode']", {"width": b"512", "mode": b'"fast"'}, id="a choice of an Enum"),
        pytest.param("('seed',)", {"seed": b"null"}, id="optional"),
        pytest.param("('prompt',)", {"prompt": b""}, id="required"),
        pytest.param("('extra',)", {"extra": b""}, id="no JSON"),
    ],
)
def test_a_predictor_says_what_parts_its_batches(tmp_path: Path, declared: str, told: dict[str, bytes]):
    code = f"""
        from enum import Enum
        from typing import Any, Optional
        class Mode(str, Enum):
            FAST = "fast"
        class Predictor:
            batch_by = {declared}
            def predict(
                self, prompt: str, width: int = 512, mode: Mode = Mode.FAST, seed: Optional[int] = None,
                extra: Any = object(),
            ): ...
            def predict_batch(self, inputs): ...
    """
    with working(write(tmp_path, code)) as worker:
        assert worker.ready().batch_by == told


def test_a_batch_is_one_call_and_an_item_alone_is_none(tmp_path: Path):
    with working(write(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 2}, {"n": 3})
        assert [output(done) for done in worker.done_all("abc")] == [2, 4, 6]
        assert worker.log_of() == worker.log_of("b") == "together [1, 2, 3]\n"
        worker.run({"n": 4}, ids="d")
        assert output(worker.done("d")) == 8
        assert worker.log_of("d") == "alone 4\n"


def test_an_exception_in_the_list_fails_one_item(tmp_path: Path):
    with working(write(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 7}, {"n": 3})
        assert [(done.status, done.error) for done in worker.done_all("abc")] == [
            ("ok", None),
            ("failed", "seven"),
            ("ok", None),
        ]


def test_a_batch_that_raises_is_halved_until_the_culprit_stands_alone(tmp_path: Path):
    with working(write(tmp_path, BATCH)) as worker:
        worker.run(*({"n": n} for n in (1, 2, 13, 4, 5)))
        assert [done.error for done in worker.done_all("abcde")] == [None, None, "thirteen", None, None]
        assert [done.metrics["batch_size"] for done in worker.done_all("abcde")] == [2, 2, 1, 2, 2]
        assert "together [4, 5]\n" in worker.log_of()
        assert "alone 13\n" in worker.log_of("c")
        assert "alone 13\n" not in worker.log_of("a")
        assert len([frame for frame in worker.frames if isinstance(frame, Began)]) == 1


def test_bad_inputs_fail_alone_in_a_batch(tmp_path: Path):
    with working(write(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"m": 2}, {"n": 3})
        assert [done.status for done in worker.done_all("abc")] == ["ok", "failed", "ok"]


@pytest.mark.parametrize("result", ["[1]", "3", "None", "{'a': 1, 'b': 2}", "'ab'"])
def test_a_batch_must_have_as_many_outputs_as_inputs(tmp_path: Path, result: str):
    code = f"class Predictor:\n def predict(self): return 1\n def predict_batch(self, inputs): return {result}"
    with working(write(tmp_path, code)) as worker:
        worker.run({}, {})
        for done in worker.done_all("ab"):
            assert "predict_batch must return a list of 2 outputs, one per input; it gave " in (done.error or "")


def test_an_item_leaves_its_batch(tmp_path: Path):
    (tmp_path / "wait").touch()
    with working(write(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 2})
        worker.said("together")
        worker.stop("a")
        (tmp_path / "wait").unlink()
        assert [done.status for done in worker.done_all("ab")] == ["stopped", "ok"]


def test_a_batch_that_nobody_wants_is_interrupted(tmp_path: Path):
    (tmp_path / "wait").touch()
    with working(write(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 2})
        worker.said("together")
        worker.stop("a")
        worker.stop("b")
        assert [done.status for done in worker.done_all("ab")] == ["stopped", "stopped"]


def test_an_async_batch(tmp_path: Path):
    code = """
        import asyncio
        class Predictor:
            max_batch_size = 4
            async def predict(self, n: int) -> int:
                if n == 3: raise ValueError("three")
                return n
            async def predict_batch(self, inputs):
                print("together")
                if any(i["n"] == 3 for i in inputs): raise ValueError("one of them")
                if any(i["n"] == 9 for i in inputs): await asyncio.sleep(1000)
                return [i["n"] for i in inputs]
    """
    with working(write(tmp_path, code)) as worker:
        worker.run({"n": 1}, {"n": 3}, {"n": 4})
        assert [done.error for done in worker.done_all("abc")] == [None, "three", None]
        worker.run({"n": 9}, {"n": 1}, ids="xy")
        worker.until(lambda: True if "together" in worker.log_of("x") else None)
        worker.stop("x", "y")
        assert [done.status for done in worker.done_all("xy")] == ["stopped", "stopped"]
