"""An async predictor that takes several predictions at once."""

from pathlib import Path

import pytest

from runners.worker.frames import Began, Item, Run
from tests.runners.worker.driver import Worker, output, working, write

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
    return write(tmp_path, CODE)


def send(worker: Worker, **inputs: dict[str, object]) -> None:
    for who, input in inputs.items():
        worker.run({"who": who, **input}, ids=who)


def test_it_says_how_many_it_takes(predictor: Path):
    with working(predictor) as worker:
        assert worker.ready().concurrency == 3
    with working(predictor, environment={"COG_MAX_CONCURRENCY": "2"}) as worker:
        assert worker.ready().concurrency == 2


def test_they_meet(predictor: Path):
    """Neither ends before the other has begun."""
    with working(predictor) as worker:
        send(worker, a={}, b={})
        assert [output(done) for done in worker.done_all("ab")] == ["a {}", "b {}"]
        assert [done.metrics["who"] for done in worker.done_all("ab")] == ["a", "b"]
        assert [done.metrics["batch_size"] for done in worker.done_all("ab")] == [1, 1]


def test_a_context_is_of_one(predictor: Path):
    with working(predictor) as worker:
        for id in "ab":
            worker.send(Run([Item(id, b'{"who": "x"}', context={"id": id})]))
        assert [output(done) for done in worker.done_all("ab")] == ["x {'id': 'a'}", "x {'id': 'b'}"]


def test_no_more_than_that_run(predictor: Path):
    with working(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"}, c={"do": "wait"}, d={"alone": True})
        for who in "abc":
            worker.said(f"{who} waits")
        assert {id for frame in worker.frames if isinstance(frame, Began) for id in frame.ids} == set("abc")
        worker.stop("b")
        assert output(worker.done("d")) == "d {}"


def test_a_stop_ends_one_and_leaves_the_others(predictor: Path):
    with working(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"})
        worker.said("a waits")
        worker.said("b waits")
        worker.stop("a")
        assert worker.done("a").status == "stopped"
        send(worker, c={"alone": True})
        assert worker.done("c").status == "ok"
        worker.stop("b")
        assert worker.done("b").status == "stopped"
        assert worker.log_of("a") == "a begins\na waits\na ends\n"


def test_what_waits_for_room_can_be_stopped(predictor: Path):
    with working(predictor) as worker:
        send(worker, a={"do": "wait"}, b={"do": "wait"}, c={"do": "wait"}, d={})
        for who in "abc":
            worker.said(f"{who} waits")
        worker.stop("d", "a")
        assert [worker.done(id).status for id in "ad"] == ["stopped", "stopped"]
        assert "d begins" not in worker.log_of()


def test_a_failure_is_of_one(predictor: Path):
    with working(predictor) as worker:
        send(worker, a={"do": "raise"}, b={})
        assert [(done.status, done.error) for done in worker.done_all("ab")] == [("failed", "a"), ("ok", None)]
        assert "ValueError: a" in worker.log_of("a")
        assert worker.log_of("b") == "b begins\nb ends\n"


@pytest.mark.parametrize(
    ("do", "said"),
    [("", ""), ("thread", "{} in a thread\n"), ("task", "{} aside and on\n")],
    ids=["", "thread", "task"],
)
def test_what_python_prints_goes_to_whose_it_is(predictor: Path, do: str, said: str):
    with working(predictor) as worker:
        send(worker, a={"do": do}, b={"do": do})
        worker.done_all("ab")
        for id in "ab":
            lines = "".join(f"{line}\n" for line in worker.log_of(id).splitlines() if "and on" not in line)
            assert worker.log_of(id).replace(" aside", "", 1).count(id) >= 2
            assert lines.startswith(f"{id} begins\n")
            assert ("b" if id == "a" else "a") not in {line.split()[0] for line in worker.log_of(id).splitlines()}
            assert all(word in worker.log_of(id) for word in said.format(id).split())


def test_what_nobody_knows_the_owner_of_goes_to_all_that_run(predictor: Path):
    with working(predictor) as worker:
        send(worker, b={"do": "wait"}, a={"do": "native"})
        worker.said("b waits")
        worker.done("a")
        assert "native\n" in worker.log_of("a")
        assert "native\n" in worker.log_of("b")
