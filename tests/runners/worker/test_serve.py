"""What a worker answers, for sync and async predictors."""

import datetime
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runners.worker.frames import Chunk, Done, Item, ItemsStarted, Run
from tests.runners.worker.driver import Worker, output, running_worker, write_predictor


def predict(body: str, *, arguments: str = "", result: str = "Any", keyword: str = "def") -> str:
    """The text of a predictor whose `predict` does `body`."""
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    head = "import asyncio, os, subprocess, sys, time\nfrom typing import *\nfrom cog import *\n"
    return f"{head}class Predictor(BasePredictor):\n    {keyword} predict(self, {arguments}) -> {result}:\n{lines}\n"


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_an_output_is_json(tmp_path: Path, keyword: str):
    with running_worker(
        write_predictor(tmp_path, predict("return {'a': [1, None, True, 2.5, 'é']}", keyword=keyword))
    ) as worker:
        worker.run({})
        assert output(worker.done()) == {"a": [1, None, True, 2.5, "é"]}


FAILURES = [
    pytest.param("raise ValueError('no such voice')", "no such voice", "ValueError: no such voice", id="an exception"),
    pytest.param("raise KeyError", "KeyError", "raise KeyError", id="without a message"),
    pytest.param("sys.exit(3)", "The predictor called sys.exit(3)", "SystemExit", id="sys.exit"),
    pytest.param("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt", id="KeyboardInterrupt"),
    pytest.param("return [1.0, float('nan')]", "output[1]: JSON has no nan", "", id="NaN"),
    pytest.param("return {'a': float('inf')}", "output['a']: JSON has no inf", "", id="Infinity"),
    pytest.param("return object()", "output: a object cannot be sent as JSON", "", id="an object"),
    pytest.param("x = []\nx.append(x)\nreturn x", "contains itself", "", id="a circle"),
    pytest.param(
        "return Path('nowhere.png')", "output: the file 'nowhere.png' does not exist", "", id="a missing file"
    ),
]


@pytest.mark.parametrize("keyword", ["def", "async def"])
@pytest.mark.parametrize(("body", "error", "log"), FAILURES)
def test_a_failure_is_an_answer_and_the_worker_goes_on(tmp_path: Path, body: str, error: str, log: str, keyword: str):
    code = predict(f"if fine: return 1\nprint('so far')\n{body}", arguments="fine: bool = False", keyword=keyword)
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        done = worker.done()
        assert done.status == "failed"
        assert error in (done.error or "")
        assert worker.log_of("a").startswith("so far\n")
        assert log in worker.log_of("a")
        assert "runners/worker" not in worker.log_of("a")
        worker.run({"fine": True}, ids="b")
        assert output(worker.done("b")) == 1


STREAMS = [
    pytest.param(predict("yield from 'abc'", result="Iterator[str]"), ["a", "b", "c"], id="a generator"),
    pytest.param(predict("yield from 'ab'", result="ConcatenateIterator[str]"), ["a", "b"], id="joined"),
    pytest.param(predict("return iter([1, 2])", result="Iterator[int]"), [1, 2], id="an iterator"),
    pytest.param(predict("return [1, 2]", result="Iterator[int]"), [1, 2], id="a list where chunks were promised"),
    pytest.param(predict("return iter(())", result="Iterator[int]"), [], id="nothing"),
    pytest.param(
        predict(
            "for c in 'ab':\n    await asyncio.sleep(0)\n    yield c", result="AsyncIterator[str]", keyword="async def"
        ),
        ["a", "b"],
        id="an async generator",
    ),
]


@pytest.mark.parametrize(("code", "expected"), STREAMS)
def test_what_is_yielded_comes_in_chunks(tmp_path: Path, code: str, expected: list[Any]):
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        done = worker.done()
        assert (done.status, done.many, done.value) == ("ok", True, None)
        assert worker.chunks() == expected


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_chunk_is_sent_before_the_next_is_made(tmp_path: Path, keyword: str):
    (tmp_path / "fifo").touch()
    code = predict("yield 1\nwhile os.path.exists('fifo'): pass\nyield 2", result="Iterator[int]", keyword=keyword)
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        assert worker.chunk().value == b"1"
        (tmp_path / "fifo").unlink()
        worker.done()
        assert worker.chunks() == [1, 2]


def test_a_generator_that_fails_keeps_its_chunks(tmp_path: Path):
    with running_worker(
        write_predictor(tmp_path, predict("yield 1\nraise ValueError('enough')", result="Iterator[int]"))
    ) as worker:
        worker.run({})
        assert (worker.done().status, worker.done().error) == ("failed", "enough")
        assert worker.chunks() == [1]


def test_runs_are_answered_in_order_and_once(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return n", arguments="n: int"))) as worker:
        for n, id in enumerate("abcdefgh"):
            worker.run({"n": n}, ids=id)
        worker.done("h")
        frames = [(type(frame), getattr(frame, "id", None) or frame.ids[0]) for frame in worker.frames[1:]]  # pyright: ignore
        assert frames == [(kind, id) for id in "abcdefgh" for kind in (ItemsStarted, Done)]


def test_inputs_are_filled_in(tmp_path: Path):
    code = predict(
        "return [type(x).__name__, x, y, z, w]",
        arguments="x: float, y: int = 3, z: Optional[str] = None, w: str = Input(default='w', description='W')",
    )
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"x": 1})
        assert output(worker.done()) == ["int", 1, 3, None, "w"]
        worker.run({"x": 1, "w": "v", "z": "!"}, ids="b")
        assert output(worker.done("b")) == ["int", 1, 3, "!", "v"]


@pytest.mark.parametrize(
    ("input", "error"),
    [
        pytest.param({}, "x: this input is required", id="missing"),
        pytest.param({"x": "/etc/passwd"}, "x: a bare path is not allowed", id="a path of this host"),
        pytest.param({"x": "file:///etc/passwd"}, "x: file is not allowed", id="a file: URL"),
        pytest.param({"x": "data:;base64,?"}, "x: the data: URI cannot be decoded", id="not base64"),
        pytest.param({"x": "http://127.0.0.1:1/x"}, "x: the file cannot be fetched", id="nobody there"),
        pytest.param({"x": 3}, "x: a file is given as a URL", id="a number"),
    ],
)
def test_bad_inputs_name_the_field(tmp_path: Path, input: dict[str, Any], error: str):
    with running_worker(write_predictor(tmp_path, predict("return 1", arguments="x: Path"))) as worker:
        worker.run(input)
        assert (worker.done().status, worker.log_of("a")) == ("failed", "")
        assert error in (worker.done().error or "")


def test_unknown_inputs_are_dropped(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return x", arguments="x: int"))) as worker:
        worker.run({"x": 1, "y": 2})
        assert output(worker.done()) == 1


def test_a_file_is_there_for_the_prediction_only(tmp_path: Path):
    with running_worker(
        write_predictor(tmp_path, predict("return [str(x), x.read_text()]", arguments="x: Path"))
    ) as worker:
        worker.run({"x": "data:text/plain;base64,aGVsbG8="})
        name, text = output(worker.done())
        assert (text, Path(name).suffix) == ("hello", ".txt")
        worker.run({"x": "data:,again"}, ids="b")
        assert output(worker.done("b"))[1] == "again"
        assert not Path(name).exists()


def test_output_files_are_named(tmp_path: Path):
    code = predict("Path('o.txt').write_text('x')\nreturn {'a': [Path('o.txt')], 'b': open('o.txt')}")
    with running_worker(write_predictor(tmp_path, code), home=home(tmp_path)) as worker:
        worker.run({})
        done = worker.done()
        (path,) = done.files
        assert output(done) == {"a": [f"file:{path}"], "b": f"file:{path}"}
        assert (Path(path).name, Path(path).read_text()) == ("o.txt", "x")
        assert Path(path).is_relative_to(tmp_path / "home")


def test_files_are_streamed_as_they_were(tmp_path: Path):
    body = "for n in range(3):\n    Path('o.txt').write_text(str(n))\n    yield Path('o.txt')"
    with running_worker(
        write_predictor(tmp_path, predict(body, result="Iterator[Path]")), home=home(tmp_path)
    ) as worker:
        worker.run({})
        worker.done()
        files = [frame.files[0] for frame in worker.frames if isinstance(frame, Chunk)]
        assert [Path(file).read_text() for file in files] == ["0", "1", "2"]


def test_an_input_may_be_the_output(tmp_path: Path):
    """It is gone with the prediction, and somebody has still to fetch it."""
    with running_worker(
        write_predictor(tmp_path, predict("return x", arguments="x: Path")), home=home(tmp_path)
    ) as worker:
        worker.run({"x": "data:text/plain,hello"})
        done = worker.done()
        worker.run({"x": "data:,again"}, ids="b")
        worker.done("b")
        assert Path(done.files[0]).read_text() == "hello"


def test_a_prediction_that_was_stopped_keeps_no_output(tmp_path: Path):
    body = "try:\n    print('here')\n    time.sleep(1000)\nexcept BaseException: pass\nreturn b'x'"
    with running_worker(write_predictor(tmp_path, predict(body)), home=home(tmp_path)) as worker:
        worker.run({})
        worker.wait_for_log("here")
        worker.stop("a")
        assert worker.done().status == "stopped"
        assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def home(folder: Path) -> Path:
    (folder / "home").mkdir()
    return folder / "home"


def test_metrics_are_of_one_prediction(tmp_path: Path):
    code = predict(
        "if n:\n    self.record_metric('n', n)\n    current_scope().record_metric('k.sum', 1, mode='incr')\n"
        "    current_scope().record_metric('k.sum', 2, mode='incr')\nreturn 1",
        arguments="n: int",
    )
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 5})
        metrics = worker.done().metrics
        assert metrics.pop("predict_time") >= 0
        assert metrics == {"n": 5, "k": {"sum": 3}, "batch_size": 1}
        worker.run({"n": 0}, ids="b")
        assert list(worker.done("b").metrics) == ["predict_time", "batch_size"]


def test_what_a_metric_says_can_be_sent(tmp_path: Path):
    body = "self.record_metric('a', 0.5)\nself.record_metric('b', 'x\\0\\ud800')\nself.record_metric('c', 2**70)"
    with running_worker(write_predictor(tmp_path, predict(body))) as worker:
        worker.run({})
        metrics = worker.done().metrics
        del metrics["predict_time"], metrics["batch_size"]
        assert metrics == {"a": 0.5, "b": "x\ufffd?", "c": float(2**70)}


def test_a_context_comes_with_its_prediction(tmp_path: Path):
    with running_worker(
        write_predictor(tmp_path, predict("return [self.scope.context, current_scope().context]"))
    ) as worker:
        worker.send(Run([Item("a", b"{}", context={"who": "me"})]), Run([Item("b", b"{}")]))
        assert [output(done) for done in worker.done_all("ab")] == [[{"who": "me"}] * 2, [{}] * 2]


def test_a_default_is_nobodys_to_change(tmp_path: Path):
    code = predict("xs.append(1)\nreturn xs", arguments="xs: list[int] = Input(default=[])")
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        worker.run({}, ids="b")
        assert [output(done) for done in worker.done_all("ab")] == [[1], [1]]


def test_train_is_served_as_predict_is(tmp_path: Path):
    code = """
        from cog import BaseModel
        class Trained(BaseModel):
            steps: int
        def train(steps: int = 3) -> Trained:
            print("training")
            return Trained(steps=steps)
    """
    with running_worker(write_predictor(tmp_path, code), ref="predict.py:train", train=True) as worker:
        worker.run({"steps": 2})
        assert output(worker.done()) == {"steps": 2}
        assert worker.log_of("a") == "training\n"


def test_times_are_of_the_clock(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return 1"))) as worker:
        before = datetime.datetime.now().timestamp()
        worker.run({})
        assert before <= worker.started("a").at <= worker.done().at <= datetime.datetime.now().timestamp()


def test_a_predictors_own_modules_win(tmp_path: Path):
    names = ["schemas", "utils", "frames", "inbox", "speech", "host", "gateway", "runners", "common"]
    code = predict(f"import {', '.join(names)}\nreturn [m.MINE for m in ({', '.join(names)},)]")
    others = {name: f"MINE = {name!r}" for name in names}
    with running_worker(write_predictor(tmp_path, "import schemas, runners, frames\n" + code, **others)) as worker:
        worker.run({})
        assert output(worker.done()) == names


def test_no_module_of_ours_is_imported_by_a_public_name(tmp_path: Path):
    code = predict(
        "return sorted(name for name in sys.modules if name.split('.')[0] in ('schemas', 'runners', 'frames'))"
    )
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        assert output(worker.done()) == []


def test_the_predictors_folder_is_the_working_directory(tmp_path: Path):
    (tmp_path / "weights.txt").write_text("w")
    with running_worker(write_predictor(tmp_path, predict("return open('weights.txt').read()"))) as worker:
        worker.run({})
        assert output(worker.done()) == "w"


@pytest.mark.parametrize(
    ("code", "ref"),
    [
        pytest.param("def predict(x: int) -> int: return x + 1", "predict.py:predict", id="a function"),
        pytest.param("class P:\n    def predict(self, x): return x + 1", "predict.py:P", id="a plain class"),
        pytest.param("class P:\n    def run(self, x): return x + 1", "predict.py:P", id="run"),
        pytest.param("class Runner:\n    def run(self, *, x: int): return x + 1", "predict.py", id="Runner"),
    ],
)
def test_what_may_be_a_predictor(tmp_path: Path, code: str, ref: str):
    with running_worker(write_predictor(tmp_path, code), ref=ref) as worker:
        worker.run({"x": 1})
        assert output(worker.done()) == 2


def test_set_up_comes_first_and_has_its_own_log(tmp_path: Path):
    code = """
        import os
        class Predictor:
            def setup(self, weights):
                print("loading")
                os.write(1, b"natively\\n")
                self.weights = weights
            def predict(self) -> str:
                return repr(self.weights)
    """
    worker = Worker(write_predictor(tmp_path, code))
    try:
        assert worker.ready().log == worker.setup_log() == "loading\nnatively\n"
        worker.run({})
        assert output(worker.done()) == "None"
        assert worker.log_of() == ""
    finally:
        worker.close()


def test_an_async_predictor_keeps_the_loop_of_its_set_up(tmp_path: Path):
    code = """
        import asyncio
        class Predictor:
            async def setup(self):
                self.loop = asyncio.get_running_loop()
            async def predict(self) -> bool:
                return self.loop is asyncio.get_running_loop()
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        assert output(worker.done()) is True


@pytest.mark.parametrize(
    ("code", "stage", "error"),
    [
        pytest.param("x = 1\nimport nowhere", "import", "predict.py:2: ModuleNotFoundError", id="import"),
        pytest.param("def f(:", "import", "predict.py:1: SyntaxError", id="syntax"),
        pytest.param("x = 1", "import", "predict.py: it defines no Predictor", id="no predictor"),
        pytest.param("class Predictor: ...", "import", "neither run nor predict", id="no method"),
        pytest.param("class Predictor:\n def predict(self, *a): ...", "import", "parameter *a", id="unnamed inputs"),
        pytest.param("import sys\nsys.exit(2)", "import", "predict.py:2: The predictor called sys.exit(2)", id="exit"),
        pytest.param(
            "class Predictor:\n def predict(self): 1\n def setup(self):\n  print('so far')\n  raise OSError('no disk')",
            "setup",
            "predict.py:5: OSError: no disk",
            id="setup",
        ),
        pytest.param(
            "class Predictor:\n max_batch_size=0\n def predict(self): ...\n def predict_batch(self, inputs): ...",
            "import",
            "max_batch_size is 0, but it must be at least 1",
            id="a batch of none",
        ),
        pytest.param(
            "class Predictor:\n batch_by = 'wide', 'size'\n def predict(self, size: int): ...\n"
            " def predict_batch(self, inputs): ...",
            "import",
            "batch_by names 'wide', but the inputs are size",
            id="a batch by what is no input",
        ),
        pytest.param(
            "class Predictor:\n batch_by = 3\n def predict(self): ...\n def predict_batch(self, inputs): ...",
            "import",
            "batch_by is 3, but it must be the name of an input, or a tuple of names",
            id="a batch by a number",
        ),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, code: str, stage: str, error: str):
    worker = Worker(write_predictor(tmp_path, code))
    try:
        broken = worker.load_failure()
        assert (broken.stage, worker.process.wait(20)) == (stage, 1)
        assert error in broken.error
        assert stage == "import" or broken.log.startswith("so far\nTraceback (most recent call last):\n")
        assert "runners/worker" not in broken.log
        assert broken.file is None or broken.error.startswith(broken.file)
    finally:
        worker.close()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="idle"),
        pytest.param("time.sleep(1000)", id="asleep"),
        pytest.param("subprocess.run(['sleep', '1000'])", id="waiting"),
        pytest.param("while True: pass", id="busy"),
    ],
)
def test_a_worker_dies_with_its_agent_and_takes_its_children(tmp_path: Path, body: str):
    code = predict(f"print('here', flush=True)\n{body or 'return 1'}")
    worker = Worker(
        write_predictor(tmp_path, f"import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n{code}")
    )
    try:
        worker.ready()
        worker.run({})
        worker.wait_for_log("here")
        worker.socket.close()
        worker.process.wait(20)
        os.set_blocking(worker.log, True)
        while os.read(worker.log, 1 << 16):  # ends once nobody holds the other end
            pass
    finally:
        worker.close()


def test_a_crash_leaves_its_last_output(tmp_path: Path):
    worker = Worker(write_predictor(tmp_path, predict("os.kill(os.getpid(), 11)")))
    try:
        worker.ready()
        worker.run({})
        worker.started("a")
        assert worker.process.wait(20) == -signal.SIGSEGV
        assert "Segmentation fault" in worker.last_output()
    finally:
        worker.close()


def test_a_large_answer_arrives_whole(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("return 'x' * 10_000_000"))) as worker:
        worker.run({})
        assert len(output(worker.done())) == 10_000_000


def test_a_forked_child_does_not_speak_to_the_agent(tmp_path: Path):
    body = """
pid = os.fork()
if not pid:
    print('child')
    os._exit(0)
os.waitpid(pid, 0)
return 'parent'
"""
    with running_worker(write_predictor(tmp_path, predict(body))) as worker:
        worker.run({})
        assert output(worker.done()) == "parent"
        assert worker.log_of("a") == "child\n"


def test_a_spawned_child_can_import_its_predictor(tmp_path: Path):
    code = """
        import multiprocessing
        from cog import BasePredictor

        def double(n):
            print("child", n)
            return n * 2

        class Predictor(BasePredictor):
            def predict(self, n: int) -> int:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return pool.apply(double, (n,))
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({"n": 4})
        assert output(worker.done()) == 8
        assert worker.log_of("a") == "child 4\n"
