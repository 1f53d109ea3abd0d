"""`samovar predict`, as a user types it."""

import os
import signal
import subprocess
import threading
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR

LIMIT = 60
PREDICTOR = """
import os
import subprocess
import tempfile
from typing import Optional

from cog import BasePredictor, ConcatenateIterator, Input, Path


class Words(BasePredictor):
    def setup(self) -> None:
        print("setting up")

    def predict(self, text: str, n: int = Input(default=1, ge=0), fail: bool = False) -> ConcatenateIterator[str]:
        print("running", flush=True)
        for _ in range(n):
            yield text
        if fail:
            raise ValueError("on purpose")


class Files(BasePredictor):
    def predict(self, image: Path, extra: Optional[Path] = None) -> list[Path]:
        content = image.read_text() + (extra.read_text() if extra else "")
        image.write_text("ruined")
        made = [Path(tempfile.mkdtemp()) / "made.txt" for _ in range(2)]
        for number, path in enumerate(made):
            path.write_text(f"{content} {number}")
        return made


class Stuck(BasePredictor):
    def predict(self) -> str:
        child = subprocess.Popen(["sleep", "600"])
        print("child", child.pid, flush=True)
        child.wait()


class Dead(BasePredictor):
    def predict(self) -> str:
        print("last words", flush=True)
        os._exit(3)


class Unset(BasePredictor):
    def setup(self) -> None:
        print("looking for weights")
        raise FileNotFoundError("weights.bin")

    def predict(self) -> str: ...
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def model(tmp_path: Path, cache: Path) -> "Model":
    return Model(tmp_path / "model", cache)


class Model:
    """A folder with all of the predictors, and the command that runs one of them."""

    def __init__(self, folder: Path, cache: Path) -> None:
        folder.mkdir()
        (folder / "predict.py").write_text(PREDICTOR)
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
        self.environ = kept | {"SAMOVAR_CACHE_DIR": str(cache)}

    def command(self, predictor: str, *words: object) -> list[str]:
        (self.folder / "cog.yaml").write_text(f"predict: predict.py:{predictor}\n")
        return [str(SAMOVAR), "predict", str(self.folder), *map(str, words)]

    def run(self, predictor: str, *words: object) -> subprocess.CompletedProcess[str]:
        command = self.command(predictor, *words)
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=self.environ)


def test_the_output_is_printed_and_logs_go_to_stderr(model: Model) -> None:
    done = model.run("Words", "-i", "text=ab", "-i", "n=3")
    assert (done.returncode, done.stdout) == (0, "ababab\n"), done.stderr
    lines = done.stderr.splitlines()
    assert lines.index("setting up") < lines.index("running")


def test_a_failure_is_told_and_is_the_exit_status(model: Model) -> None:
    done = model.run("Words", "-i", "text=ab", "-i", "fail=true")
    assert (done.returncode, done.stdout) == (1, "ab\n")
    assert "samovar: failed: on purpose\n" in done.stderr


def test_for_machines_there_is_all_of_it(model: Model) -> None:
    done = model.run("Words", "-i", "text=ab", "-i", "n=2", "--json")
    ended = json.decode(done.stdout)
    assert (ended["status"], ended["output"], ended["error"]) == ("succeeded", ["ab", "ab"], None)
    assert "running" in ended["logs"]
    assert ended["metrics"]["predict_time"] >= 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param((), "samovar: input: text is required\n", id="missing"),
        pytest.param(("text=a", "n=-1"), "samovar: input.n: Must be greater than or equal to 0\n", id="out of bounds"),
        pytest.param(("text=a", "m=1"), "input m: the model has no such input; it has text, n, fail\n", id="unknown"),
    ],
)
def test_inputs_are_checked_by_the_rules_of_a_gateway(model: Model, given: tuple[str, ...], told: str) -> None:
    done = model.run("Words", *(word for each in given for word in ("-i", each)))
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "setting up" not in done.stderr


def test_files_come_as_copies_and_go_to_the_output_folder(model: Model, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("content")
    out = tmp_path / "out"
    first = model.run("Files", "-i", f"image=@{tmp_path / 'in.txt'}", "--output-dir", out)
    assert first.returncode == 0, first.stderr
    saved = [Path(line) for line in first.stdout.splitlines()]
    assert [path.read_text() for path in saved] == ["content 0", "content 1"]
    assert sorted(saved) == sorted(out.iterdir())
    assert (tmp_path / "in.txt").read_text() == "content"


def test_nothing_is_left_in_the_temporary_folder(model: Model, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("content")
    (tmp_path / "tmp").mkdir()
    model.environ["TMPDIR"] = str(tmp_path / "tmp")
    done = model.run("Files", "-i", f"image=@{tmp_path / 'in.txt'}", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def site(tmp_path: Path) -> Generator[str]:
    """A web server at a private address, with one file."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "page.txt").write_text(" and more")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/page.txt"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Tests are told by what fails."""


def test_the_users_own_network_may_be_reached(model: Model, tmp_path: Path, site: str) -> None:
    (tmp_path / "in.txt").write_text("content")
    done = model.run("Files", "-i", f"image=@{tmp_path / 'in.txt'}", "-i", f"extra={site}", "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).read_text() == "content and more 0"


def test_an_interrupt_ends_the_predictor_and_what_it_started(model: Model) -> None:
    command = model.command("Stuck")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=model.environ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("child "))
        family = psutil.Process(process.pid).children(recursive=True)
        assert int(line.split()[1]) in {each.pid for each in family}
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        assert "samovar: canceled" in process.stderr.read()
    assert psutil.wait_procs(family, timeout=LIMIT)[1] == []


def test_a_predictor_that_dies_is_a_failure_with_its_end(model: Model) -> None:
    done = model.run("Dead")
    assert done.returncode == 1
    assert "last words" in done.stderr
    assert "samovar: failed: the worker died: exit code 3" in done.stderr


def test_a_setup_that_fails_is_told_with_its_log(model: Model) -> None:
    done = model.run("Unset")
    assert (done.returncode, done.stdout) == (1, "")
    assert "looking for weights" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("samovar: setup")
    assert "weights.bin" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        pytest.param("predict.py", "import nothing_of_that_name\n", "samovar: import: predict.py:1: ", id="import"),
        pytest.param("predict.py", "class Words:\n", "samovar: import: predict.py:", id="syntax"),
        pytest.param("cog.yaml", "predict: [\n", "samovar: config: cog.yaml:", id="cog.yaml"),
    ],
)
def test_what_is_wrong_is_told_with_stage_file_and_line(model: Model, file: str, content: str, told: str) -> None:
    command = model.command("Words", "-i", "text=a")
    (model.folder / file).write_text(content)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=model.environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(told), done.stderr
