"""An async predictor that takes several predictions at once."""

from pathlib import Path

import pytest

from runners.worker.frames import Item, ItemsStarted, Run
from tests.runners.worker.driver import Worker, output, running_worker, write_predictor

CODE = """
import asyncio, os, subprocess, sys, threading
from cog import BasePredictor, Path, concurrent, current_scope

together = 0

class Predictor(BasePredictor):
    async def setup(self):
        self.met = asyncio.Event()
        self.here = 0

    @concurrent(max=3)
    async def predict(self, who: str, alone: bool = False, do: str = "") -> str:
        print(who, "begins")
        current_scope().record_metric("who", who)
        self.here += 1
        if self.here >= 2:
            self.met.set()
        try:
            if not alone:
                await self.met.wait()
            if do == "wait":
                print(who, "waits")
                await asyncio.sleep(1000)
            if do == "raise":
                raise ValueError(who)
            if do == "exit":
                os._exit(3)
            if do == "native":
                os.write(1, b"native\\n")
            if do == "thread":
                await asyncio.to_thread(print, who, "in a thread")
            if do == "task":
                await asyncio.create_task(self.aside(who))
            return f"{who} {current_scope().context}"
        finally:
            self.here -= 1
            print(who, "ends")

    async def aside(self, who):
        print(who, "aside", end="")
        await asyncio.sleep(0)
        print(" and on", file=sys.stderr)
"""


@pytest.fixture
def predictor(tmp_path: Path) -> Path:
    return write_predictor(tmp_path, CODE)


def send(worker: Worker, **inputs: dict[str, object]) -> None:
    for who, input in inputs.items():
        worker.run({"who": who, **input}, ids=who)


def test_ready_says_how_many_runs_it_takes(predictor: Path):
    with running_worker(predictor) as worker:
        assert worker.ready().concurrency == 3
    with running_worker(predictor, environment={"COG_MAX_CONCURRENCY": "2"}) as worker:
        assert worker.ready().concurrency == 2


def test_runs_overlap(predictor: Path):
    """Neither ends before the other has begun."""
    with running_worker(predictor) as worker:
        send(worker, a={}, b={})
        assert [output(done) for done in worker.done_all("ab")] == ["a {}", "b {}"]
        assert [done.metrics["who"] for done in worker.done_all("ab")] == ["a", "b"]
        assert [done.metrics["batch_size"] for done in worker.done_all("ab")] == [1, 1]


def test_each_run_has_its_own_context(predictor: Path):
    with running_worker(predictor) as worker:
        for id in "ab":
            worker.send(Run([Item(id, b'{"who": "x"}', context={"id": id})]))
        assert [output(done) for done in worker.done_all("ab")] == ["x {'id': 'a'}", "x {'id': 'b'}"]


def test_no_more_than_the_concurrency_run_at_once(predictor: Path):
    with running_worker(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"}, c={"do": "wait"}, d={"alone": True})
        for who in "abc":
            worker.wait_for_log(f"{who} waits")
        assert {id for frame in worker.frames if isinstance(frame, ItemsStarted) for id in frame.ids} == set("abc")
        worker.stop("b")
        assert output(worker.done("d")) == "d {}"


def test_a_stop_ends_one_run_and_not_the_others(predictor: Path):
    with running_worker(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"})
        worker.wait_for_log("a waits")
        worker.wait_for_log("b waits")
        worker.stop("a")
        assert worker.done("a").status == "stopped"
        send(worker, c={"alone": True})
        assert worker.done("c").status == "ok"
        worker.stop("b")
        assert worker.done("b").status == "stopped"
        assert worker.log_of("a") == "a begins\na waits\na ends\n"


def test_a_queued_run_can_be_stopped(predictor: Path):
    with running_worker(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"}, c={"do": "wait"}, d={})
        for who in "abc":
            worker.wait_for_log(f"{who} waits")
        worker.stop("d", "a")
        assert [worker.done(id).status for id in "ad"] == ["stopped", "stopped"]
        assert "d begins" not in worker.log_of()


def test_a_failure_affects_one_run(predictor: Path):
    with running_worker(predictor) as worker:
        send(worker, a={"do": "raise"}, b={})
        assert [(done.status, done.error) for done in worker.done_all("ab")] == [("failed", "a"), ("ok", None)]
        assert "ValueError: a" in worker.log_of("a")
        assert worker.log_of("b") == "b begins\nb ends\n"


@pytest.mark.parametrize(
    ("do", "expected"),
    [("", ""), ("thread", "{} in a thread\n"), ("task", "{} aside and on\n")],
    ids=["", "thread", "task"],
)
def test_text_printed_by_python_goes_to_the_log_of_its_run(predictor: Path, do: str, expected: str):
    with running_worker(predictor) as worker:
        send(worker, a={"do": do}, b={"do": do})
        worker.done_all("ab")
        for id in "ab":
            lines = "".join(f"{line}\n" for line in worker.log_of(id).splitlines() if "and on" not in line)
            assert worker.log_of(id).replace(" aside", "", 1).count(id) >= 2
            assert lines.startswith(f"{id} begins\n")
            assert ("b" if id == "a" else "a") not in {line.split()[0] for line in worker.log_of(id).splitlines()}
            assert all(word in worker.log_of(id) for word in expected.format(id).split())


def test_text_without_a_known_owner_goes_to_all_running_items(predictor: Path):
    with running_worker(predictor) as worker:
        send(worker, b={"do": "wait"}, a={"do": "native"})
        worker.wait_for_log("b waits")
        worker.done("a")
        assert "native\n" in worker.log_of("a")
        assert "native\n" in worker.log_of("b")
