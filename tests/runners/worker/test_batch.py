"""Batches in a worker: one call for many, and what each of them gets of it."""

from pathlib import Path

import pytest

from runners.worker.frames import ItemsStarted
from tests.runners.worker.driver import output, running_worker, write_predictor

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


def test_a_predictor_declares_the_size_and_wait_of_batches(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        assert (worker.ready().max_batch_size, worker.ready().max_batch_wait_ms) == (8, 5.0)
    with running_worker(tmp_path, environment={"SAMOVAR_MAX_BATCH_SIZE": "3"}) as worker:
        assert worker.ready().max_batch_size == 3


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param("()", {}, id="nothing"),
        pytest.param("'width'", {"width": b"512"}, id="one"),
        pytest.param("['width', 'mode']", {"width": b"512", "mode": b'"fast"'}, id="a choice of an Enum"),
        pytest.param("('seed',)", {"seed": b"null"}, id="optional"),
        pytest.param("('prompt',)", {"prompt": b""}, id="required"),
        pytest.param("('extra',)", {"extra": b""}, id="no JSON"),
    ],
)
def test_a_predictor_declares_which_inputs_must_be_equal_in_a_batch(
    tmp_path: Path, declared: str, expected: dict[str, bytes]
):
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
    with running_worker(write_predictor(tmp_path, code)) as worker:
        assert worker.ready().batch_by == expected


def test_a_batch_is_one_call_and_a_single_item_uses_predict(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 2}, {"n": 3})
        assert [output(done) for done in worker.done_all("abc")] == [2, 4, 6]
        assert worker.log_of() == worker.log_of("b") == "together [1, 2, 3]\n"
        worker.run({"n": 4}, ids="d")
        assert output(worker.done("d")) == 8
        assert worker.log_of("d") == "alone 4\n"


def test_an_exception_in_the_list_fails_one_item(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 7}, {"n": 3})
        assert [(done.status, done.error) for done in worker.done_all("abc")] == [
            ("ok", None),
            ("failed", "seven"),
            ("ok", None),
        ]


def test_a_batch_that_raises_is_halved_until_the_failing_item_is_alone(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        worker.run(*({"n": n} for n in (1, 2, 13, 4, 5)))
        assert [done.error for done in worker.done_all("abcde")] == [None, None, "thirteen", None, None]
        assert [done.metrics["batch_size"] for done in worker.done_all("abcde")] == [2, 2, 1, 2, 2]
        assert "together [4, 5]\n" in worker.log_of()
        assert "a batch of 5 failed (RuntimeError, predict.py:12); trying 3\n" in worker.log_of("e")
        assert "ValueError: thirteen\n" in worker.log_of("c")
        assert "one of them" not in worker.log_of()
        assert "alone 13\n" in worker.log_of("c")
        assert "alone 13\n" not in worker.log_of("a")
        assert len([frame for frame in worker.frames if isinstance(frame, ItemsStarted)]) == 1


def test_bad_inputs_fail_alone_in_a_batch(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"m": 2}, {"n": 3})
        assert [done.status for done in worker.done_all("abc")] == ["ok", "failed", "ok"]
        assert worker.log_of() == worker.log_of("a") == "together [1, 3]\n"


@pytest.mark.parametrize("result", ["[1]", "3", "None", "{'a': 1, 'b': 2}", "'ab'"])
def test_a_batch_must_have_as_many_outputs_as_inputs(tmp_path: Path, result: str):
    code = f"class Predictor:\n def predict(self): return 1\n def predict_batch(self, inputs): return {result}"
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({}, {})
        for done in worker.done_all("ab"):
            assert "predict_batch must return a list of 2 outputs, one per input; it gave " in (done.error or "")


@pytest.mark.parametrize("keyword", ["", "async "])
def test_an_item_leaves_its_batch_at_once(tmp_path: Path, keyword: str):
    (tmp_path / "wait").touch()
    pause = "await asyncio.sleep(0.001)" if keyword else "time.sleep(0.001)"
    code = BATCH.replace("    def predict", f"    {keyword}def predict").replace("time.sleep(0.001)", pause)
    with running_worker(write_predictor(tmp_path, f"import asyncio\n{code}")) as worker:
        worker.run({"n": 1}, {"n": 2})
        worker.wait_for_log("together")
        worker.stop("a")
        assert worker.done("a").status == "stopped"
        assert worker.done("a").metrics["batch_size"] == 2
        (tmp_path / "wait").unlink()
        assert output(worker.done("b")) == 4


def test_an_item_leaves_a_batch_that_is_called_in_halves(tmp_path: Path):
    code = """
        import os, time
        class Predictor:
            def predict(self, n: int) -> int: return n
            def predict_batch(self, inputs):
                print("together", len(inputs))
                if len(inputs) > 2: raise ValueError
                while os.path.exists("wait"): time.sleep(0.001)
                return [len(inputs)] * len(inputs)
    """
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 1}, {"n": 2}, {"n": 3}, {"n": 4})
        worker.wait_for_log("together 2")
        worker.stop("d", "a")
        assert [worker.done(id).status for id in "da"] == ["stopped", "stopped"]
        (tmp_path / "wait").unlink()
        assert [output(done) for done in worker.done_all("bc")] == [2, 3]


def test_a_batch_whose_items_are_all_stopped_is_interrupted(tmp_path: Path):
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, BATCH)) as worker:
        worker.run({"n": 1}, {"n": 2})
        worker.wait_for_log("together")
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
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 1}, {"n": 3}, {"n": 4})
        assert [done.error for done in worker.done_all("abc")] == [None, "three", None]
        worker.run({"n": 9}, {"n": 1}, ids="xy")
        worker.until(lambda: True if "together" in worker.log_of("x") else None)
        worker.stop("x", "y")
        assert [done.status for done in worker.done_all("xy")] == ["stopped", "stopped"]


SHORT = """
import os, sys, types
class Predictor:
    max_batch_size = 16
    def setup(self):
        self.emptied = 0
        if {torch}:
            sys.modules["torch"] = types.SimpleNamespace(cuda=self)
    def is_initialized(self): return True
    def device_count(self): return 0
    def empty_cache(self): self.emptied += 1
    def predict(self, n: int) -> list:
        return self.predict_batch([{{"n": n}}])[0]
    def predict_batch(self, inputs):
        print("tries", len(inputs))
        if sum(i["n"] for i in inputs) > 4: raise {error}
        return [[i["n"], self.emptied] for i in inputs]
"""


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("MemoryError", id="the host's"),
        pytest.param("RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", id="a device's"),
        pytest.param("RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')", id="torch's on the host"),
    ],
)
def test_a_batch_that_runs_out_of_memory_is_halved_until_it_fits(tmp_path: Path, error: str):
    with running_worker(write_predictor(tmp_path, SHORT.format(error=error, torch=True))) as worker:
        worker.run(*[{"n": 1}] * 16)
        assert {output(done)[0] for done in worker.done_all("abcdefghijklmnop")} == {1}
        assert worker.log_of("a").splitlines() == [
            "tries 16",
            "a batch of 16 ran out of memory; trying 8",
            "tries 8",
            "a batch of 8 ran out of memory; trying 4",
            "tries 4",
        ]
        assert output(worker.done("a"))[1] == 2
        assert worker.done("a").metrics["batch_size"] == 4
        worker.run({"n": 1}, ids="z")
        worker.done("z")
        assert worker.batch_limits() == [4]


def test_a_batch_that_is_larger_than_the_known_limit_is_split(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, SHORT.format(error="MemoryError", torch=False))) as worker:
        worker.run(*[{"n": 1}] * 8)
        worker.run(*[{"n": 1}] * 6, ids="ABCDEF")
        worker.done_all("abcdefghABCDEF")
        assert [worker.log_of(id) for id in "AF"] == ["tries 4\n", "tries 2\n"]
        assert worker.batch_limits() == [4]


def test_an_item_that_is_too_large_by_itself_sets_no_batch_limit(tmp_path: Path):
    with running_worker(
        write_predictor(tmp_path, SHORT.format(error="MemoryError('too much')", torch=False))
    ) as worker:
        worker.run({"n": 1}, {"n": 1}, {"n": 9}, {"n": 1})
        worker.run({"n": 1}, ids="z")
        worker.done("z")
        assert [done.error for done in worker.done_all("abcd")] == [None, None, "too much", None]
        assert worker.batch_limits() == []


def test_memory_of_a_batch_that_ran_out_of_memory_is_released(tmp_path: Path):
    code = """
        import weakref
        class Large: ...
        class Predictor:
            seen = None
            def predict(self, n: int) -> bool:
                return self.seen() is None
            def predict_batch(self, inputs):
                large = Large()
                self.seen = weakref.ref(large)
                try:
                    raise KeyError
                except KeyError as error:
                    raise MemoryError from error
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 1}, {"n": 2})
        assert [output(done) for done in worker.done_all("ab")] == [True, True]


STREAMS = """
import asyncio, os, time
from typing import *
class Predictor:
    max_batch_size = 8
    {keyword} predict(self, text: str) -> {result}:
        print("alone", text)
        for c in text:
            if c == "!": raise ValueError("no shouting")
            yield c
    {keyword} predict_batch(self, inputs):
        texts = [i["text"] for i in inputs]
        print("together", texts)
        try:
            for step in range(max(map(len, texts))):
                if any(text[step:step + 1] == "!" for text in texts): raise RuntimeError("somebody shouts")
                yield [self.part(text, step) for text in texts]
                while step == 1 and os.path.exists("wait"): {pause}
        finally:
            print("cleaned up")
    def part(self, text, step):
        if step >= len(text): return StopIteration
        return {{"-": None, "?": ValueError("a question"), ".": StopIteration()}}.get(text[step], text[step])
"""
SYNC = STREAMS.format(keyword="def", result="Iterator[str]", pause="time.sleep(0.001)")
ASYNC = STREAMS.format(keyword="async def", result="AsyncIterator[str]", pause="await asyncio.sleep(0.001)")
MIXED = SYNC.replace("def predict(", "async def predict(").replace("> Iterator", "> AsyncIterator")
both = pytest.mark.parametrize("code", [SYNC, ASYNC, MIXED], ids=["sync", "async", "a sync batch of an async one"])


def inputs_of(*texts: str) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


@both
def test_a_batch_may_be_a_generator_of_chunks(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("abc", "-d-", "efgh"))
        assert [(done.status, done.many, done.value) for done in worker.done_all("abc")] == [("ok", True, None)] * 3
        assert [worker.chunks(id) for id in "abc"] == [["a", "b", "c"], ["d"], ["e", "f", "g", "h"]]
        assert worker.done("a").metrics["batch_size"] == 3
        worker.run(*inputs_of("xyz"), ids="d")
        assert worker.done("d").many
        assert worker.chunks("d") == ["x", "y", "z"]


@both
def test_an_item_of_a_generator_ends_while_the_others_go_on(tmp_path: Path, code: str):
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("a.bc", "d?ef", "ghij"))
        assert (worker.done("a").status, worker.chunks("a")) == ("ok", ["a"])
        assert (worker.done("b").status, worker.done("b").error) == ("failed", "a question")
        (tmp_path / "wait").unlink()
        assert worker.done("c").status == "ok"
        assert [worker.chunks(id) for id in "abc"] == [["a"], ["d"], ["g", "h", "i", "j"]]
        assert "a question" not in worker.log_of("c")


@both
def test_an_item_leaves_a_generator_at_once(tmp_path: Path, code: str):
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("abc", "def"))
        worker.until(lambda: True if len(worker.chunks("b")) == 2 else None)
        worker.stop("a")
        if code != MIXED:  # there the loop that listens is what waits
            assert worker.done("a").status == "stopped"
        (tmp_path / "wait").unlink()
        assert [done.status for done in worker.done_all("ab")] == ["stopped", "ok"]
        assert worker.chunks("b") == ["d", "e", "f"]


@both
def test_a_generator_whose_items_are_all_stopped_is_closed(tmp_path: Path, code: str):
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("abc", "def"))
        worker.until(lambda: True if len(worker.chunks("b")) == 2 else None)
        worker.stop("a", "b")
        if code == MIXED:
            (tmp_path / "wait").unlink()
        assert [done.status for done in worker.done_all("ab")] == ["stopped", "stopped"]
        assert worker.log_of("b").endswith("cleaned up\n")


@both
def test_a_generator_whose_items_have_all_ended_is_closed(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("a.bc", "d?ef"))
        worker.run(*inputs_of("g"), ids="c")
        worker.done("c")
        assert [done.status for done in worker.done_all("ab")] == ["ok", "failed"]
        assert worker.log_of("a") == "together ['a.bc', 'd?ef']\n"


@both
def test_when_a_generator_fails_items_with_chunks_start_over_and_the_rest_is_halved(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run(*inputs_of("ab", "-cd", "-!", "-ef", "g."))
        assert [done.status for done in worker.done_all("abcde")] == ["again", "ok", "failed", "ok", "again"]
        assert worker.done("c").error == "no shouting"
        assert [worker.chunks(id) for id in "bd"] == [["c", "d"], ["e", "f"]] or [worker.chunks(id) for id in "bd"] == [
            ["-", "c", "d"],
            ["-", "e", "f"],
        ]
        assert "failed (RuntimeError, predict.py:16); trying 2\n" in worker.log_of("d")
        assert "shout" not in worker.log_of("d")


@both
def test_a_step_has_as_many_values_as_there_are_inputs(tmp_path: Path, code: str):
    with running_worker(
        write_predictor(tmp_path, code.replace("step) for text in texts]", "step) for text in texts[:1]]"))
    ) as worker:
        worker.run(*inputs_of("ab", "cd"))
        for done in worker.done_all("ab"):
            assert (
                done.error
                == "predict_batch must yield a list of 2 values at each step, one per input; it gave 1 values"
            )
        assert worker.log_of("a").endswith("cleaned up\n")


def test_a_generators_values_are_outputs_if_predict_returns_one(tmp_path: Path):
    code = """
        class Predictor:
            def predict(self, n: int) -> int:
                return n
            def predict_batch(self, inputs):
                for step in range(3):
                    yield [i["n"] * 10 if i["n"] == step else None for i in inputs]
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 2}, {"n": 0}, {"n": 7})
        assert [output(done) for done in worker.done_all("ab")] == [20, 0]
        assert worker.done("c").error == "predict_batch ended without an output for this input"


def test_a_list_is_sent_in_chunks_if_predict_yields_them(tmp_path: Path):
    code = """
        from typing import Iterator
        class Predictor:
            def predict(self, text: str) -> Iterator[str]:
                yield from text
            def predict_batch(self, inputs):
                return [list(i["text"]) for i in inputs]
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"text": "ab"}, {"text": ""})
        assert [(done.status, done.many) for done in worker.done_all("ab")] == [("ok", True)] * 2
        assert [worker.chunks(id) for id in "ab"] == [["a", "b"], []]


ITEMS = """
import asyncio, threading
from cog import BasePredictor, current_scope
class Predictor(BasePredictor):
    max_batch_size = 8
    {keyword} predict(self, who: str) -> str:
        with current_scope().item(0):
            print("only", who)
            self.record_metric("alone", True)
        return who
    {keyword} predict_batch(self, inputs):
        scope = current_scope()
        print("all")
        scope.record_metric("all.of", "them")
        scope.record_metric("both", 0)
        for index, item in enumerate(inputs):
            if item["who"] == "bad": raise ValueError
            with scope.item(index) as mine:
                print("for", item["who"])
                {pause}
                self.record_metric("all.who", item["who"])
                scope.record_metric("both", index)
                mine.record_metric("count", 1, mode="incr")
                {thread}
            print("after", item["who"])
        try:
            with scope.item(len(inputs)): ...
        except IndexError as error:
            print(error)
        return [i["who"] for i in inputs]
"""
items = pytest.mark.parametrize(
    "code",
    [
        pytest.param(ITEMS.format(keyword="def", pause="pass", thread="pass"), id="sync"),
        pytest.param(
            ITEMS.format(
                keyword="async def",
                pause="await asyncio.sleep(0)",
                thread="await asyncio.to_thread(print, 'aside', item['who'])",
            ),
            id="async",
        ),
    ],
)


@items
def test_text_printed_for_one_item_is_in_its_log_only(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"who": "a"}, {"who": "b"})
        assert [output(done) for done in worker.done_all("ab")] == ["a", "b"]
        lines = worker.log_of("a").splitlines()
        assert [line for line in lines if not line.startswith("aside")] == [
            "all",
            "for a",
            "after a",
            "after b",
            "item 2: there are 2, counted from 0",
        ]
        assert "aside b" not in lines


@items
def test_metrics_recorded_for_one_item_are_its_own(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"who": "a"}, {"who": "b"})
        for index, done in enumerate(worker.done_all("ab")):
            metrics = dict(done.metrics)
            del metrics["predict_time"]
            assert metrics == {"all": {"of": "them", "who": done.id}, "both": index, "count": 1, "batch_size": 2}


@items
def test_metrics_of_a_failed_batch_are_discarded(tmp_path: Path, code: str):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"who": "a"}, {"who": "bad"})
        for done in worker.done_all("ab"):
            metrics = dict(done.metrics)
            del metrics["predict_time"]
            assert metrics == {"alone": True, "batch_size": 1}
        assert worker.log_of("b").endswith("only bad\n")


def test_an_item_scope_may_be_open_across_steps(tmp_path: Path):
    code = """
        from typing import Iterator
        from cog import current_scope
        class Predictor:
            def predict(self, n: int) -> Iterator[int]:
                yield n
            def predict_batch(self, inputs):
                for index, item in enumerate(inputs):
                    with current_scope().item(index):
                        print("begins", index)
                        yield [item["n"] if i == index else None for i in range(len(inputs))]
                        print("ends", index)
                print("over")
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 1}, {"n": 2})
        worker.done_all("ab")
        assert [worker.log_of(id) for id in "ab"] == [f"begins {i}\nends {i}\nover\n" for i in range(2)]
