"""What is printed reaches the prediction that printed it, all of it and in order."""

from pathlib import Path

import pytest

from runners.worker.frames import LogText
from tests.runners.worker.driver import running_worker, write_predictor
from tests.runners.worker.test_serve import predict

PRINTS = [
    pytest.param("print('a')\nprint('b', 'c')", "a\nb c\n", id="lines"),
    pytest.param("print('a', end='')", "a", id="no newline"),
    pytest.param("print('a')\nprint('b', file=sys.stderr)\nprint('c')", "a\nb\nc\n", id="both streams"),
    pytest.param("print('a')\nos.write(1, b'b\\n')\nos.write(2, b'c\\n')\nprint('d')", "a\nb\nc\nd\n", id="native"),
    pytest.param("print('a')\nsubprocess.run(['echo', 'b'])\nprint('c')", "a\nb\nc\n", id="a child process"),
    pytest.param("sys.stdout.buffer.write(b'a\\n')\nprint('b')", "a\nb\n", id="bytes"),
    pytest.param("print('a', end='')\nsys.stdout.buffer.write(b'b')\nprint('c')", "abc\n", id="bytes within a line"),
    pytest.param("os.write(1, b'\\xc3')\nos.write(1, b'\\xa9')", "é", id="a character in two pieces"),
    pytest.param("os.write(1, b'\\xff')\nprint('x\\0y')", "\ufffdx\ufffdy\n", id="no text"),
    pytest.param("import logging\nlogging.warning('careful')", "WARNING:root:careful\n", id="logging"),
    pytest.param(
        "import warnings\nwarnings.warn_explicit('w', UserWarning, 'f', 1)", "f:1: UserWarning: w\n", id="warnings"
    ),
    pytest.param("import ctypes\nctypes.CDLL(None).printf(b'%s', b'half a line')", "half a line", id="the C library"),
    pytest.param(
        "import threading\nt = threading.Thread(target=print, args=('a',))\nt.start()\nt.join()", "a\n", id="a thread"
    ),
    pytest.param("print('a')\nprint('b', file=sys.__stdout__)\nprint('c')", "a\nb\nc\n", id="the first stdout"),
    pytest.param("print('b', end='', file=sys.__stdout__)", "b", id="half a line of the first stdout"),
    pytest.param(
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): print('a')\nprint('b')",
        "b\n",
        id="what is redirected",
    ),
    pytest.param("for n in (1, 2): print(f'{n}/2', end='\\r')\nprint()", "1/2\r2/2\r\n", id="a progress bar"),
    pytest.param(
        "import logging\nlogging.getLogger('x').setLevel('INFO')\nlogging.basicConfig(format='%(message)s')\n"
        "logging.getLogger('x').info('a')",
        "a\n",
        id="a logger",
    ),
    pytest.param(
        "import multiprocessing\nc = multiprocessing.get_context('fork').Process(target=print, args=('a',))\n"
        "c.start()\nc.join()\nprint('b')",
        "a\nb\n",
        id="a forked process",
        marks=pytest.mark.filterwarnings("ignore"),
    ),
    pytest.param(
        "class Noisy:\n    def __del__(self): print('gone')\nfor _ in range(3):\n    x = Noisy()\n    x.x = x\n"
        "    del x\nimport gc\ngc.collect()",
        "gone\n" * 3,
        id="garbage",
    ),
    pytest.param("for n in range(5000): print(n)", "".join(f"{n}\n" for n in range(5000)), id="much"),
    pytest.param("os.write(1, b'x' * 3_000_000)", "x" * 3_000_000, id="more than a pipe holds"),
]


@pytest.mark.parametrize("keyword", ["def", "async def"])
@pytest.mark.parametrize(("body", "log"), PRINTS)
def test_all_output_is_captured_in_order(tmp_path: Path, body: str, log: str, keyword: str):
    with running_worker(write_predictor(tmp_path, predict(body, keyword=keyword))) as worker:
        worker.run({})
        worker.run({}, ids="b")
        assert [done.status for done in worker.done_all("ab")] == ["ok", "ok"]
        assert worker.log_of("a") == worker.log_of("b") == log


def test_half_a_character_is_of_who_printed_it(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("os.write(1, bytes([n]))", arguments="n: int"))) as worker:
        worker.run({"n": 0xC3})
        worker.run({"n": 0xA9}, ids="b")
        worker.done_all("ab")
        assert (worker.log_of("a"), worker.log_of("b")) == ("\ufffd", "\ufffd")


@pytest.mark.parametrize(
    "how",
    [
        "print('x')",
        "print('x', end='\\r')",
        "print('x', file=sys.__stdout__)",
        "print('x', end='', flush=True)",
        "os.write(1, b'x')",
        "os.system('echo x')",
    ],
)
def test_lines_are_sent_at_once(tmp_path: Path, how: str):
    (tmp_path / "wait").touch()
    with running_worker(
        write_predictor(tmp_path, predict(f"{how}\nwhile os.path.exists('wait'): time.sleep(0.001)"))
    ) as worker:
        worker.run({})
        worker.wait_for_log("x")
        (tmp_path / "wait").unlink()
        assert worker.done().status == "ok"


def test_a_line_is_one_frame(tmp_path: Path):
    with running_worker(write_predictor(tmp_path, predict("print('a', 'b', 'c')\nprint('d')"))) as worker:
        worker.run({})
        worker.done()
        assert [frame.text for frame in worker.frames if isinstance(frame, LogText)] == ["a b c\n", "d\n"]


def test_a_traceback_comes_after_what_was_printed(tmp_path: Path):
    with running_worker(
        write_predictor(tmp_path, predict("os.write(1, b'native ')\nprint('so', end='')\nraise OSError('x')"))
    ) as worker:
        worker.run({})
        worker.done()
        assert worker.log_of("a").startswith("native soTraceback (most recent call last):\n")
        assert 'predict.py", line 8, in predict' in worker.log_of("a")


ENDINGS = [
    pytest.param("def", "raise OSError('x')", "Exception", "failed", id="a failure"),
    pytest.param("async def", "raise OSError('x')", "Exception", "failed", id="a failure of an async one"),
    pytest.param("def", "time.sleep(1000)", "CancelationException", "stopped", id="a stop"),
    pytest.param(
        "async def", "await asyncio.sleep(1000)", "asyncio.CancelledError", "stopped", id="a stop of an async one"
    ),
]


@pytest.mark.parametrize(("keyword", "work", "caught", "status"), ENDINGS)
def test_nothing_is_lost_at_a_bad_end(tmp_path: Path, keyword: str, work: str, caught: str, status: str):
    body = f"try:\n    print('here')\n    {work}\nexcept {caught}:\n    print('caught')\n    raise\n"
    body += "finally:\n    os.write(1, b'natively')\n    print(' at last', end='')"
    with running_worker(write_predictor(tmp_path, predict(body, keyword=keyword))) as worker:
        worker.run({})
        worker.wait_for_log("here")
        if status == "stopped":
            worker.stop("a")
        assert worker.done().status == status
        assert worker.log_of("a").startswith("here\ncaught\nnatively at last")
