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

TIMEOUT = 60
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
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
        self.environ = inherited | {"SAMOVAR_CACHE_DIR": str(cache)}

    def command(self, predictor: str, *arguments: object) -> list[str]:
        (self.folder / "cog.yaml").write_text(f"predict: predict.py:{predictor}\n")
        return [str(SAMOVAR), "predict", str(self.folder), *map(str, arguments)]

    def run(self, predictor: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = self.command(predictor, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=self.environ)


def test_the_output_is_printed_and_logs_go_to_stderr(model: Model) -> None:
    result = model.run("Words", "-i", "text=ab", "-i", "n=3")
    assert (result.returncode, result.stdout) == (0, "ababab\n"), result.stderr
    lines = result.stderr.splitlines()
    assert lines.index("setting up") < lines.index("running")


def test_a_failure_is_reported_and_is_the_exit_status(model: Model) -> None:
    result = model.run("Words", "-i", "text=ab", "-i", "fail=true")
    assert (result.returncode, result.stdout) == (1, "ab\n")
    assert "samovar: failed: on purpose\n" in result.stderr


def test_json_is_the_whole_outcome(model: Model) -> None:
    result = model.run("Words", "-i", "text=ab", "-i", "n=2", "--json")
    prediction = json.decode(result.stdout)
    assert (prediction["status"], prediction["output"], prediction["error"]) == ("succeeded", ["ab", "ab"], None)
    assert "running" in prediction["logs"]
    assert prediction["metrics"]["predict_time"] >= 0


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param((), "samovar: input: text is required\n", id="missing"),
        pytest.param(("text=a", "n=-1"), "samovar: input.n: Must be greater than or equal to 0\n", id="out of bounds"),
        pytest.param(("text=a", "m=1"), "input m: the model has no such input; it has text, n, fail\n", id="unknown"),
    ],
)
def test_inputs_are_validated_as_by_a_gateway(model: Model, pairs: tuple[str, ...], expected: str) -> None:
    result = model.run("Words", *(word for each in pairs for word in ("-i", each)))
    assert (result.returncode, result.stdout) == (1, "")
    assert expected in result.stderr
    assert "setting up" not in result.stderr


def test_input_files_are_copied_and_outputs_go_to_the_folder(model: Model, tmp_path: Path) -> None:
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
    result = model.run("Files", "-i", f"image=@{tmp_path / 'in.txt'}", "--output-dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
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
        """Log nothing: a failed test says enough."""


def test_the_predictor_may_reach_private_addresses(model: Model, tmp_path: Path, site: str) -> None:
    (tmp_path / "in.txt").write_text("content")
    result = model.run("Files", "-i", f"image=@{tmp_path / 'in.txt'}", "-i", f"extra={site}", "--output-dir", tmp_path)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.splitlines()[0]).read_text() == "content and more 0"


def test_an_interrupt_ends_the_predictor_and_what_it_started(model: Model) -> None:
    command = model.command("Stuck")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=model.environ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("child "))
        family = psutil.Process(process.pid).children(recursive=True)
        assert int(line.split()[1]) in {each.pid for each in family}
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
        assert "samovar: canceled" in process.stderr.read()
    assert psutil.wait_procs(family, timeout=TIMEOUT)[1] == []


def test_a_predictor_that_dies_is_a_failure_with_its_exit_code(model: Model) -> None:
    result = model.run("Dead")
    assert result.returncode == 1
    assert "last words" in result.stderr
    assert "samovar: failed: the worker died: exit code 3" in result.stderr


def test_a_failed_setup_is_reported_with_its_log(model: Model) -> None:
    result = model.run("Unset")
    assert (result.returncode, result.stdout) == (1, "")
    assert "looking for weights" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("samovar: setup")
    assert "weights.bin" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        pytest.param("predict.py", "import nothing_of_that_name\n", "samovar: import: predict.py:1: ", id="import"),
        pytest.param("predict.py", "class Words:\n", "samovar: import: predict.py:", id="syntax"),
        pytest.param("cog.yaml", "predict: [\n", "samovar: config: cog.yaml:", id="cog.yaml"),
    ],
)
def test_an_error_names_stage_file_and_line(model: Model, file: str, content: str, expected: str) -> None:
    command = model.command("Words", "-i", "text=a")
    (model.folder / file).write_text(content)
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=model.environ)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith(expected), result.stderr
