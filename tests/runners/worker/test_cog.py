"""What a predictor imports as `cog`."""

import dataclasses
import importlib
import io
import math
import pathlib
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path as LocalPath
from typing import Any

import pytest

from runners.worker import cog
from runners.worker.cog import metrics, scope
from tests.runners.worker.driver import HOST


@pytest.fixture
def current() -> Generator[cog.Scope]:
    """The scope of a prediction that runs."""
    with scope.scoped(cog.Scope()):
        yield cog.current_scope()


NAMES = [
    pytest.param("a", None, id="a letter"),
    pytest.param("A1", None, id="a digit"),
    pytest.param("cog", None, id="cog alone"),
    pytest.param("Cog.x", None, id="upper case"),
    pytest.param("cogs", None, id="cogs"),
    pytest.param("predict_time.x", None, id="under the reserved one"),
    pytest.param("a.b.c.d", None, id="four words"),
    pytest.param("x" * 128, None, id="128 characters"),
    pytest.param("", "a name is up to 4 words", id="empty"),
    pytest.param("_a", "a name is up to 4 words", id="leading underscore"),
    pytest.param("a_", "a name is up to 4 words", id="trailing underscore"),
    pytest.param("a__b", "a name is up to 4 words", id="two underscores"),
    pytest.param("1a", "a name is up to 4 words", id="leading digit"),
    pytest.param("a.b.c.d.e", "a name is up to 4 words", id="five words"),
    pytest.param("x" * 129, "a name is up to 4 words", id="129 characters"),
    pytest.param("a..b", "a name is up to 4 words", id="an empty word"),
    pytest.param(".a", "a name is up to 4 words", id="leading dot"),
    pytest.param("a.", "a name is up to 4 words", id="trailing dot"),
    pytest.param("a-b", "a name is up to 4 words", id="a dash"),
    pytest.param("é", "a name is up to 4 words", id="beyond ASCII"),
    pytest.param("a\n", "a name is up to 4 words", id="a line's end"),
    pytest.param("predict_time", "is reserved", id="predict_time"),
    pytest.param("cog.x", "is reserved", id="cog.x"),
]


def test_outside_of_a_batch_there_is_one_item(current: cog.Scope):
    with current.item(0) as item:
        item.record_metric("n", 1)
    assert current.metrics["n"] == 1
    with pytest.raises(IndexError, match="item 1: there is 1, counted from 0"), current.item(1):
        pass


def test_outside_of_a_prediction_an_item_has_no_owner():
    with cog.current_scope().item(0):
        cog.current_scope().record_metric("n", 1)


@pytest.mark.parametrize(("name", "reason"), NAMES)
def test_metric_names(current: cog.Scope, name: str, reason: str | None):
    if reason is None:
        current.record_metric(name, 1)
        assert current.metrics[name] == 1
    else:
        with pytest.raises(ValueError, match=reason):
            current.record_metric(name, 1)


Step = tuple[str, Any, metrics.Mode]
RECORDED = [
    pytest.param([("a", 1, "replace"), ("a", 2, "replace")], {"a": 2}, id="the last one counts"),
    pytest.param([("a", 1, "incr"), ("a", 2, "increment")], {"a": 3}, id="incr"),
    pytest.param([("a", 1.5, "incr"), ("a", 1.5, "incr")], {"a": 3.0}, id="incr of floats"),
    pytest.param([("a", 1, "replace"), ("a", 5, "incr")], {"a": 6}, id="incr of what was replaced"),
    pytest.param([("a", 1, "append"), ("a", 2, "append")], {"a": [1, 2]}, id="append"),
    pytest.param([("a", 1, "replace"), ("a", 2, "append")], {"a": [1, 2]}, id="append to a value"),
    pytest.param([("a", [1], "append"), ("a", [2], "append")], {"a": [[1], [2]]}, id="append lists"),
    pytest.param([("a", [1], "replace"), ("a", [2], "append")], {"a": [1, [2]]}, id="append to a list"),
    pytest.param([("a", 1, "append"), ("a", 1, "incr")], {"a": [1]}, id="a list cannot grow by one"),
    pytest.param([("a.b", 1, "replace"), ("a.c.d", "x", "replace")], {"a": {"b": 1, "c": {"d": "x"}}}, id="nested"),
    pytest.param([("a", 1, "replace"), ("a.b", 2, "replace")], {"a": {"b": 2}}, id="nested over a value"),
    pytest.param([("a.b", 1, "replace"), ("a", 5, "replace")], {"a": 5}, id="a value over nested ones"),
    pytest.param([("a", {"k": [1, None]}, "replace"), ("a.j", 2, "replace")], {"a": {"k": [1, None], "j": 2}}, id="d"),
    pytest.param([("a", math.nan, "replace")], {}, id="no number"),
    pytest.param([("a", [math.nan], "replace")], {"a": [None]}, id="no number in a list"),
    pytest.param([("a", 10**30, "replace")], {"a": 1e30}, id="more than 64 bits"),
    pytest.param([("a", True, "append"), ("a", False, "append")], {"a": [True, False]}, id="bools"),
]


@pytest.mark.parametrize(("steps", "expected"), RECORDED)
def test_recorded_metrics(current: cog.Scope, steps: list[Step], expected: dict[str, Any]):
    for name, value, mode in steps:
        current.record_metric(name, value, mode)
    assert dict(current.metrics.items()) == expected


WRONG = [
    pytest.param([("a", 1, "replace"), ("a", 2.0, "replace")], "was int and cannot become float", id="int, float"),
    pytest.param([("a", 1, "replace"), ("a", True, "replace")], "was int and cannot become bool", id="int, bool"),
    pytest.param([("a", 1, "incr"), ("a", 2.5, "incr")], "was int and cannot become float", id="incr"),
    pytest.param([("a", 1, "append"), ("a", "x", "append")], "was int and cannot become str", id="append"),
    pytest.param([("a", [1], "replace"), ("a", 3, "append")], "was list and cannot become int", id="list, int"),
    pytest.param([("a", "x", "incr")], "incr needs an int or a float", id="incr of a str"),
    pytest.param([("a", True, "incr")], "incr needs an int or a float", id="incr of a bool"),
    pytest.param([("a", None, "replace")], "a NoneType is no bool", id="None"),
    pytest.param([("a", (1, 2), "replace")], "a tuple is no bool", id="tuple"),
    pytest.param([("a", b"x", "replace")], "a bytes is no bool", id="bytes"),
    pytest.param([("a", [(1, 2)], "replace")], "a tuple in it cannot be sent", id="a tuple in a list"),
    pytest.param([("a", {1: 2}, "replace")], "the keys of a dict must be str", id="a key"),
    pytest.param([("a", 1, "sum")], "mode is 'sum'", id="mode"),
    pytest.param([(1, 1, "replace")], "a metric's name is a str", id="name"),
]


@pytest.mark.parametrize(("steps", "reason"), WRONG)
def test_values_that_cannot_be_recorded_are_refused(current: cog.Scope, steps: list[Step], reason: str):
    *before, last = steps
    for step in before:
        current.record_metric(*step)
    before = dict(current.metrics.items())
    with pytest.raises(TypeError, match=reason):
        current.record_metric(*last)
    assert dict(current.metrics.items()) == before


def test_metrics_are_set_and_deleted_as_in_a_dict(current: cog.Scope):
    recorded = current.metrics
    recorded["a.b"] = 1
    recorded["a.c"] = 1
    assert ("a.b" in recorded, "a.x" in recorded, "a.b.c" in recorded) == (True, False, False)
    del recorded["a.b"]
    del recorded["never.was"]
    recorded["a.b"] = "another type"
    recorded["a.c"] = None
    assert dict(recorded.items()) == {"a": {"b": "another type"}}
    recorded.record("n", 1, mode="append")
    recorded.delete("n")
    assert "n" not in recorded


def test_recorded_values_are_copies(current: cog.Scope):
    mine = [1]
    current.record_metric("a", mine)
    mine.append(2)
    current.record_metric("a", 3 * [0])
    current.record_metric("a", [4], "append")
    assert (mine, current.metrics["a"]) == ([1, 2], [0, 0, 0, [4]])


def test_outside_of_a_prediction_nothing_is_recorded_and_nothing_fails():
    outside = cog.current_scope()
    outside.record_metric("not a name", 1)
    outside.metrics["a"] = 1
    del outside.metrics["a"]
    assert (dict(outside.metrics.items()), outside.context) == ({}, {})
    with pytest.raises(TypeError, match="mode is 'sum'"):
        outside.record_metric("a", 1, mode="sum")  # pyright: ignore[reportArgumentType]


def test_a_thread_of_the_predictor_has_its_scope(current: cog.Scope):
    thread = threading.Thread(target=lambda: cog.current_scope().record_metric("a", 1))
    thread.start()
    thread.join()
    assert current.metrics["a"] == 1


def test_a_predictor_reaches_its_scope(current: cog.Scope):
    current.context = {"k": "v"}
    predictor = cog.BasePredictor()
    predictor.record_metric("a", 1)
    predictor.record_metric(key="b", value=1, mode="incr")
    predictor.scope.metrics["c"] = 1
    assert dict(current.metrics.items()) == {"a": 1, "b": 1, "c": 1}
    assert predictor.scope.context == {"k": "v"}
    with pytest.raises(AttributeError):
        current.metrics = None  # pyright: ignore[reportAttributeAccessIssue]


def test_run_and_predict_call_each_other():
    class New(cog.BaseRunner):
        def run(self, x: int) -> int:
            return x + 1

    class Old(cog.BasePredictor):
        def predict(self, x: int) -> int:
            return x + 1

    assert Old().run(x=1) == 2
    with pytest.warns(DeprecationWarning, match="call run"):
        assert New().predict(1) == 2
    with pytest.raises(NotImplementedError, match="BaseRunner defines neither run nor predict"):
        cog.BaseRunner().run()


def test_a_base_model_is_a_dataclass():
    class Base(cog.BaseModel):
        a: int

    class Inherited(Base, frozen=False, kw_only=True):
        b: str = "b"

    assert dataclasses.asdict(Inherited(1, b="c")) == {"a": 1, "b": "c"}
    assert Inherited(1) == Inherited(1, b="b")


def test_a_base_model_can_be_written_by_hand():
    class ByHand(cog.BaseModel, auto_dataclass=False):
        def __init__(self, a: int) -> None:
            self.a = a

    assert (ByHand(1).a, dataclasses.is_dataclass(ByHand)) == (1, False)


def test_a_base_model_that_would_lose_fields_is_refused():
    class Base(cog.BaseModel):
        a: int

    @dataclasses.dataclass
    class Mixed:
        b: int

    with pytest.raises(ValueError, match="fields would be lost"):
        type("Lost", (Base,), {}, auto_dataclass=False)
    with pytest.raises(TypeError, match="the dataclass Mixed cannot be mixed"):
        type("Bad", (Base, Mixed), {})
    with pytest.raises(TypeError, match="must be its first base class"):
        type("Bad", (Mixed, cog.BaseModel), {})


@pytest.mark.parametrize(("value", "text"), [("x", "**********"), ("", "**********"), (None, "")])
def test_a_secret_does_not_print_itself(value: str | None, text: str):
    secret = cog.Secret(value)
    assert (str(secret), repr(secret), secret.get_secret_value()) == (text, f"Secret({text})", value)
    with pytest.raises(dataclasses.FrozenInstanceError):
        secret.secret_value = "y"  # pyright: ignore[reportAttributeAccessIssue]


def test_an_input_takes_no_factory():
    with pytest.raises(TypeError, match="takes no default_factory"):
        cog.Input(default_factory=list)
    assert isinstance(cog.Input(1), cog.FieldInfo)
    assert cog.Input(default=1, choices=(1, 2)).choices == [1, 2]


def test_concurrent_is_for_async_functions():
    async def one() -> None: ...
    async def many() -> Any:
        yield 1

    def sync() -> None: ...

    marks = [cog.concurrent(one), cog.concurrent()(one), cog.concurrent(max=3)(one), cog.concurrent(max=2)(many)]
    assert marks == [one, one, one, many]
    assert cog.concurrent(max=1)(sync) is sync
    with pytest.raises(TypeError, match="sync is not async"):
        cog.concurrent(max=2)(sync)
    with pytest.raises(ValueError, match="at least 1"):
        cog.concurrent(max=0)
    with pytest.raises(TypeError, match="must be an integer"):
        cog.concurrent(max=True)
    with pytest.raises(TypeError, match=r"write @concurrent\(max=3\)"):
        cog.concurrent(3)  # pyright: ignore[reportArgumentType, reportCallIssue]


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"line 1\nline 2\n")

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_file_is_fetched_when_it_is_read(site: str):
    file = cog.URLFile(f"{site}/some/a.txt?x=1")
    copy = pickle.loads(pickle.dumps(file))
    assert (file.name, copy.name, isinstance(file, io.IOBase)) == ("a.txt", "a.txt", True)
    with file:
        assert file.read() == b"line 1\nline 2\n"
    with copy:
        assert list(copy) == [b"line 1\n", b"line 2\n"]
    with pytest.raises(ValueError, match="an http or https address"):
        cog.URLFile("ftp://x/y")


def test_a_url_file_that_is_open_already_is_not_fetched():
    with cog.URLFile("http://nowhere.invalid/a.bin", opened=io.BytesIO(b"abc")) as file:
        assert (file.seekable(), file.seek(1), file.read(), file.tell()) == (True, 1, b"bc", 3)


def test_a_url_file_that_nobody_reads_is_closed_without_being_fetched():
    with cog.URLFile("http://nowhere.invalid/a.bin") as file:
        assert repr(file) == "<URLFile 'http://nowhere.invalid/a.bin'>"


def test_a_path_from_an_address_is_fetched_when_it_is_converted(site: str):
    path = cog.Path.validate(f"{site}/a%20b.txt")
    assert isinstance(path, cog.URLPath)
    assert (str(path), path.filename, isinstance(path, pathlib.Path)) == (f"{site}/a%20b.txt", "a b.txt", True)
    here = path.convert()
    assert (here.read_bytes(), here.name.endswith("a b.txt"), path.convert()) == (b"line 1\nline 2\n", True, here)
    path.fileobj.close()
    path.unlink()
    assert not here.exists()


def test_a_path_of_a_data_uri_has_its_suffix():
    path = cog.Path.validate("data:text/plain;base64,aGk=")
    assert isinstance(path, cog.URLPath)
    here = path.convert()
    assert (here.suffix, here.read_text()) == (".txt", "hi")
    path.unlink()


def test_a_path_stays_a_path():
    here = cog.Path("a")
    assert cog.Path.validate(here) is here
    assert cog.Path.validate("b/c") == LocalPath("b/c")
    assert isinstance(cog.Path.validate("b") / "c", cog.Path)


def test_a_long_name_is_cut_before_its_suffix():
    path = cog.URLPath(source="x", filename="é" * 300 + ".png", fileobj=io.BytesIO())
    assert len(path.filename.encode()) <= 200
    assert path.filename.endswith("é~.png")


def test_a_file_of_a_data_uri_can_be_read():
    assert cog.File.validate("data:,hi").read() == b"hi"
    file = io.BytesIO()
    assert cog.File.validate(file) is file
    with pytest.raises(ValueError, match="'a bare path' is no scheme"):
        cog.File.validate("/etc/passwd")


OLD = [
    pytest.param("cog", "CancelationException", id="cog"),
    pytest.param("cog.exceptions", "CancelationException", id="exceptions"),
    pytest.param("cog.server.exceptions", "CancelationException", id="server.exceptions"),
    pytest.param("cog.errors", "CogError, ConfigDoesNotExist, PredictorNotSet", id="errors"),
    pytest.param(
        "cog.types", "CogPath, CogFile, ConcatenateIterator, File, Input, Path, Secret, URLPath, Weights", id="types"
    ),
    pytest.param("cog.input", "Input, FieldInfo", id="input"),
    pytest.param("cog.model", "BaseModel", id="model"),
    pytest.param("cog.predictor", "BasePredictor, BaseRunner", id="predictor"),
    pytest.param("cog.base_predictor", "BasePredictor", id="base_predictor"),
    pytest.param("cog.files", "File, Path", id="files"),
    pytest.param("cog.coder", "Coder", id="coder"),
    pytest.param("cog.mode", "Mode", id="mode"),
    pytest.param("cog.suppress_output", "suppress_output", id="suppress_output"),
]


def run(code: str) -> subprocess.CompletedProcess[str]:
    """As a predictor: in a process of its own, with our `cog` where predictors import it."""
    install = "import runpy, sys; runpy.run_path(sys.argv[1])['_install_sdk']()"
    command = [sys.executable, "-c", f"{install}\n{code}", str(HOST)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_older_names_can_be_imported():
    code = "".join(f"from {case.values[0]} import {case.values[1]}\n" for case in OLD)
    done = run(code + "import cog; assert Path is cog.Path and CancelationException is cog.CancelationException")
    assert (done.returncode, done.stderr) == (0, "")


def test_removed_modules_say_why():
    done = run("import cog.config")
    assert done.returncode == 1
    assert (
        "cog.config is not there when Samovar runs a predictor: it reads cog.yaml for Cog's own server" in done.stderr
    )


def test_deprecated_names_warn_once():
    code = "from cog import ExperimentalFeatureWarning, emit_metric\nimport cog\nfrom cog import emit_metric\n"
    done = run(code + "emit_metric('a', 1)\nassert issubclass(ExperimentalFeatureWarning, FutureWarning)")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "cog: ExperimentalFeatureWarning is deprecated",
        "cog: emit_metric is deprecated",
    ]


def test_an_unknown_name_cannot_be_imported():
    done = run("from cog import Nothing")
    assert "ImportError: cannot import name 'Nothing' from 'cog'" in done.stderr


def test_output_can_be_silenced():
    silent = "with suppress_output(): print('a', flush=True); os.write(1, b'b')\n"
    done = run(f"import os\nfrom cog.suppress_output import suppress_output\nprint('c')\n{silent}print('d')")
    assert done.stdout == "c\nd\n"


def test_a_cancelation_is_not_an_exception():
    assert issubclass(cog.CancelationException, BaseException)
    assert not issubclass(cog.CancelationException, Exception)


def test_all_exported_names_exist():
    assert [name for name in cog.__all__ if not hasattr(cog, name)] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(importlib.import_module("runners.worker.cog.types"))
