"""A stop reaches user code wherever it is, and nothing else."""

import signal
from pathlib import Path
from time import monotonic

import pytest

from runners.worker.frames import Done, Item, ItemsStarted, Run, Stop
from tests.runners.worker.driver import output, running_worker, write_predictor
from tests.runners.worker.test_serve import predict

SOON = 1.0  # seconds: what is promised of a predictor that listens

WAITS = [
    pytest.param("time.sleep(1000)", "def", id="asleep"),
    pytest.param("while True: pass", "def", id="busy"),
    pytest.param("subprocess.run(['sleep', '1000'])", "def", id="waiting for a child"),
    pytest.param("import threading\nthreading.Event().wait()", "def", id="waiting for a thread"),
    pytest.param("import socket\npair = socket.socketpair()\npair[0].recv(1)", "def", id="reading"),
    pytest.param("while True: print('x')", "def", id="printing"),
    pytest.param("await asyncio.sleep(1000)", "async def", id="async"),
    pytest.param("yield 1\ntime.sleep(1000)", "def", id="a generator asleep"),
    pytest.param("while True: yield 1", "def", id="a generator that never waits"),
    pytest.param("yield 1\nawait asyncio.sleep(1000)", "async def", id="an async generator"),
    pytest.param(
        "while True:\n    yield 1\n    await asyncio.sleep(0)", "async def", id="an async generator that never waits"
    ),
]


def interruptible(body: str, keyword: str) -> str:
    """Cleans up in `finally`, and catches every `Exception` on its way."""
    lines = "\n".join(f"            {line}" for line in body.splitlines())
    answer = "yield" if "yield" in body else "return"
    work = f"if quick: {answer} 1\nelse:\n    try:\n        try:\n            print('here')\n"
    work += f"{lines}\n        except Exception: print('swallowed')\n    finally: print('cleaned up')"
    result = ("AsyncIterator[int]" if keyword != "def" else "Iterator[int]") if "yield" in body else "Any"
    return predict(work, arguments="quick: bool = False", result=result, keyword=keyword)


@pytest.mark.parametrize(("body", "keyword"), WAITS)
def test_a_running_item_is_interrupted(tmp_path: Path, body: str, keyword: str):
    with running_worker(write_predictor(tmp_path, interruptible(body, keyword))) as worker:
        worker.run({})
        worker.wait_for_log("here")
        stopped = monotonic()
        worker.stop("a")
        assert worker.done().status == "stopped"
        assert monotonic() - stopped < SOON
        assert worker.log_of("a").endswith("cleaned up\n")
        assert "swallowed" not in worker.log_of("a")
        worker.run({"quick": True}, ids="b")
        assert worker.done("b").status == "ok"


def test_a_queued_item_never_starts(tmp_path: Path):
    code = predict("print('begun', n)\ntime.sleep(1000 if not n else 0)\nreturn n", arguments="n: int")
    with running_worker(write_predictor(tmp_path, code)) as worker:
        for n, id in enumerate("abc"):
            worker.run({"n": n}, ids=id)
        worker.wait_for_log("begun 0")
        worker.stop("b")
        worker.stop("a")
        assert [done.status for done in worker.done_all("abc")] == ["stopped", "stopped", "ok"]
        assert worker.log_of() == "begun 0\nbegun 2\n"
        assert [frame.ids for frame in worker.frames if isinstance(frame, ItemsStarted)] == [["a"], ["c"]]


@pytest.mark.parametrize(
    ("pause", "keyword"), [("time.sleep(0.001)", "def"), ("await asyncio.sleep(0.001)", "async def")]
)
def test_a_queued_item_is_answered_at_once_and_the_rest_of_its_batch_goes_on(tmp_path: Path, pause: str, keyword: str):
    (tmp_path / "wait").touch()
    body = f"print('begun', n)\nwhile os.path.exists('wait'): {pause}\nreturn n"
    with running_worker(write_predictor(tmp_path, predict(body, arguments="n: int", keyword=keyword))) as worker:
        worker.run({"n": 0})
        worker.run({"n": 1}, {"n": 2}, ids="bc")
        worker.wait_for_log("begun 0")
        worker.stop("b")
        assert worker.done("b").status == "stopped"
        assert worker.done("b").metrics == {}
        (tmp_path / "wait").unlink()
        assert [output(done) for done in worker.done_all("ac")] == [0, 2]


def test_a_stop_that_comes_with_its_run_is_in_time(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return 1"))) as worker:
        worker.send(Run([Item("a", b"{}")]), Stop(["a"]), Run([Item("b", b"{}")]))
        assert [done.status for done in worker.done_all("ab")] == ["stopped", "ok"]


def test_a_late_stop_changes_nothing(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return 1"))) as worker:
        worker.run({})
        assert worker.done().status == "ok"
        worker.stop("a", "z")
        worker.run({})
        worker.run({}, ids="b")
        worker.done("b")
        assert [frame.status for frame in worker.frames if isinstance(frame, Done)] == ["ok", "ok", "ok"]


def test_a_stop_for_another_does_not_interrupt(tmp_path: Path):
    (tmp_path / "wait").touch()
    with running_worker(
        write_predictor(tmp_path, predict("print('here')\nwhile os.path.exists('wait'): pass\nreturn 1"))
    ) as worker:
        worker.run({})
        worker.run({}, ids="b")
        worker.wait_for_log("here")
        worker.stop("b")
        (tmp_path / "wait").unlink()
        assert [done.status for done in worker.done_all("ab")] == ["ok", "stopped"]


def test_text_printed_during_clean_up_is_logged(tmp_path: Path):
    body = "try:\n    print('here')\n    time.sleep(1000)\nexcept CancelationException:\n    print('I see')\n    raise"
    with running_worker(write_predictor(tmp_path, predict(body))) as worker:
        worker.run({})
        worker.wait_for_log("here")
        worker.stop("a")
        assert worker.done().status == "stopped"
        assert worker.log_of("a") == "here\nI see\n"


def test_a_predictor_that_swallows_a_stop_is_stopped_when_it_returns(tmp_path: Path):
    body = "try:\n    print('here')\n    time.sleep(1000)\nexcept BaseException:\n    pass\nreturn 1"
    with running_worker(write_predictor(tmp_path, predict(body))) as worker:
        worker.run({})
        worker.wait_for_log("here")
        worker.stop("a")
        done = worker.done()
        assert (done.status, done.value, done.error) == ("stopped", None, None)


def test_a_signal_that_comes_before_its_frame_is_repeated(tmp_path: Path):
    """The first finds nothing in the mail, and nobody knocks when the words arrive."""
    with running_worker(write_predictor(tmp_path, predict("print('here')\nwhile True: pass"))) as worker:
        worker.run({})
        worker.wait_for_log("here")
        worker.process.send_signal(signal.SIGUSR1)
        worker.send(Stop(["a"]))
        worker.process.send_signal(signal.SIGUSR1)
        assert worker.done().status == "stopped"


def test_a_predictor_that_swallows_a_stop_is_interrupted_once(tmp_path: Path):
    """However often it is asked: killing it is the agent's affair."""
    body = "try:\n    print('here')\n    time.sleep(1000)\nexcept BaseException: print('and on')\n"
    with running_worker(
        write_predictor(tmp_path, predict(body + "while os.path.exists('wait'): time.sleep(0.001)"))
    ) as worker:
        (tmp_path / "wait").touch()
        worker.run({})
        worker.wait_for_log("here")
        worker.stop("a")
        worker.wait_for_log("and on")
        worker.stop("a")
        worker.stop("a")
        (tmp_path / "wait").unlink()
        assert worker.done().status == "stopped"
        assert worker.log_of("a") == "here\nand on\n"


def test_a_storm_of_stops_breaks_nothing(tmp_path: Path):
    """Each lands somewhere else: before, in, between and after user code, and while frames are being sent."""
    body = "for i in range(n):\n    print(i)\n    yield 'x' * 1000"
    with running_worker(write_predictor(tmp_path, predict(body, arguments="n: int", result="Iterator[str]"))) as worker:
        ids = [f"{n}" for n in range(300)]
        for n, id in enumerate(ids):
            worker.send(Run([Item(id, b'{"n": %d}' % (n % 40))]))
            if n % 3 == 0:
                worker.stop(ids[max(0, n - n % 7)])
                if n % 2:
                    worker.done(ids[n])
        for n, done in enumerate(worker.done(id) for id in ids):
            assert done.status in ("ok", "stopped")
            if done.status == "ok":
                assert len(worker.chunks(done.id)) == n % 40
                assert worker.log_of(done.id) == "".join(f"{i}\n" for i in range(n % 40))
        assert len([frame for frame in worker.frames if isinstance(frame, Done)]) == len(ids)
