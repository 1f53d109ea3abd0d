"""Which predictor is predictor, and what is read of it."""

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runners.worker.errors import UnusablePredictor
from runners.worker.predictor.loader import Predictor, load, locate_fault, set_up

HEAD = "import pathlib\nfrom runners.worker.cog import *\n"
_names = itertools.count()

Load = Callable[..., Predictor]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A predictor of that code, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("COG_MAX_CONCURRENCY", raising=False)

    def loaded(code: str, name: str = "", *, train: bool = False) -> Predictor:
        file = f"loaded{next(_names)}.py"  # modules are kept by their names
        (tmp_path / file).write_text(HEAD + code)
        return load(tmp_path, f"{file}:{name}" if name else file, train=train)

    return loaded


RUNNER = "class Runner(BaseRunner):\n def run(self) -> str: return 'runner'\n"
PREDICTOR = "class Predictor(BasePredictor):\n def predict(self) -> str: return 'predictor'\n"

LOADED = [
    pytest.param(RUNNER, "", "runner", id="Runner"),
    pytest.param(PREDICTOR, "", "predictor", id="Predictor"),
    pytest.param(RUNNER + PREDICTOR, "", "runner", id="Runner comes first"),
    pytest.param("class Runner: ...\n" + PREDICTOR, "", "predictor", id="unless it cannot run"),
    pytest.param("Runner = 'fast'\n" + PREDICTOR, "", "predictor", id="or is something else"),
    pytest.param("def Runner() -> str: return 'function'\n" + PREDICTOR, "", "function", id="a function Runner"),
    pytest.param(RUNNER + PREDICTOR, "Predictor", "predictor", id="the one that is named"),
    pytest.param("def mine() -> str: return 'function'", "mine", "function", id="a function"),
    pytest.param("class Mine:\n def run(self): return 'plain'", "Mine", "plain", id="a plain class"),
    pytest.param("class Mine:\n def run(self): return 'object'\nmine = Mine()", "mine", "object", id="an object"),
    pytest.param("class Mine:\n def __call__(self): return 'called'\nmine = Mine()", "mine", "called", id="a callable"),
    pytest.param("class Mine:\n @staticmethod\n def run(): return 'static'", "Mine", "static", id="a static method"),
    pytest.param(
        "class Base(BasePredictor):\n def predict(self): return 'base'\nclass Mine(Base): ...",
        "Mine",
        "base",
        id="an inherited method",
    ),
    pytest.param(
        "class Mixin:\n def run(self): return 'mixin'\n"
        "class Mine(BasePredictor, Mixin):\n def predict(self): return 'mine'",
        "Mine",
        "mine",
        id="a mixin's method is its own affair",
    ),
]


@pytest.mark.parametrize(("code", "name", "output"), LOADED)
def test_which_predictor_is_loaded(loaded: Load, code: str, name: str, output: str):
    assert loaded(code, name).predict() == output


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        pytest.param(RUNNER, "Predictor", "it defines no Predictor; cog.yaml names it", id="another name"),
        pytest.param("x = 1", "", "it defines neither Runner nor Predictor", id="nothing"),
        pytest.param("class Runner: ...", "", "class Runner defines neither run nor predict", id="an empty Runner"),
    ],
)
def test_a_missing_predictor_is_named(loaded: Load, code: str, name: str, reason: str):
    with pytest.raises(UnusablePredictor, match=reason):
        loaded(code, name)


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnusablePredictor, match=r"nowhere\.py: there is no such file"):
        load(tmp_path, "nowhere.py:Predictor")


@pytest.mark.parametrize(
    ("method", "is_async"),
    [
        pytest.param("def predict(self): return 1", False, id="sync"),
        pytest.param("async def predict(self): return 1", True, id="async"),
        pytest.param("def predict(self): yield 1", False, id="generator"),
        pytest.param("async def predict(self): yield 1", True, id="async generator"),
    ],
)
def test_what_is_async_is_seen(loaded: Load, method: str, is_async: bool):
    predictor = loaded(f"class Predictor:\n {method}")
    assert (predictor.is_async, predictor.needs_loop) == (is_async, is_async)


CONCURRENCY = [
    pytest.param("", None, 1, id="one"),
    pytest.param("@concurrent", None, 1, id="the bare decorator"),
    pytest.param("@concurrent(max=5)", None, 5, id="the decorator's"),
    pytest.param("@concurrent(max=5)", "2", 2, id="the environment's"),
    pytest.param("", "3", 3, id="the environment's alone"),
    pytest.param("@concurrent(max=5)", "", 5, id="an empty environment"),
]


@pytest.mark.parametrize(("mark", "variable", "expected"), CONCURRENCY)
def test_how_many_run_at_once(
    loaded: Load, mark: str, variable: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
):
    if variable is not None:
        monkeypatch.setenv("COG_MAX_CONCURRENCY", variable)
    assert loaded(f"class Predictor:\n {mark or '# none'}\n async def predict(self): ...").concurrency == expected


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        pytest.param("x", "COG_MAX_CONCURRENCY is 'x', but it must be a number", id="no number"),
        pytest.param("0", "COG_MAX_CONCURRENCY is 0, but it must be at least 1", id="none"),
        pytest.param("2", "predict is not async, and only async functions take 2 predictions at once", id="sync"),
    ],
)
def test_a_concurrency_that_cannot_be_is_refused(
    loaded: Load, variable: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COG_MAX_CONCURRENCY", variable)
    with pytest.raises(UnusablePredictor, match=reason):
        loaded(PREDICTOR)


WEIGHTS = [
    pytest.param("weights", None, "None", id="none"),
    pytest.param("weights", "", "None", id="empty"),
    pytest.param("weights", "https://x/w.tar", "'https://x/w.tar'", id="an address"),
    pytest.param("weights: Path", "/w", "'/w'", id="a text, whatever the annotation says"),
    pytest.param("weights='own'", None, "None", id="none also with a default"),
    pytest.param("*, weights", "/w", "'/w'", id="keyword only"),
    pytest.param("other='own'", "/w", "'own'", id="no such parameter"),
]


@pytest.mark.parametrize(("parameter", "variable", "expected"), WEIGHTS)
def test_weights_for_the_set_up(
    loaded: Load, parameter: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("COG_WEIGHTS", raising=False)
    if variable is not None:
        monkeypatch.setenv("COG_WEIGHTS", variable)
    name = parameter.removeprefix("*, ").split(":")[0].split("=")[0]
    code = f"class Predictor:\n def setup(self, {parameter}): self.w = repr({name})\n def predict(self): return self.w"
    predictor = loaded(code)
    set_up(predictor, None)
    assert predictor.predict() == expected


def test_an_async_set_up_is_awaited_on_the_loop(loaded: Load):
    predictor = loaded("class Predictor:\n async def setup(self): self.x = 1\n def predict(self): return self.x")
    assert (predictor.is_async, predictor.needs_loop) == (False, True)
    set_up(predictor, asyncio.run)
    assert predictor.predict() == 1


def test_a_predictor_without_a_set_up_has_none(loaded: Load):
    assert loaded("class Predictor:\n def predict(self): ...").setup is None
    set_up(loaded(PREDICTOR), None)


def test_a_healthcheck_is_detected(loaded: Load):
    predictor = loaded("class Predictor:\n def predict(self): ...\n def healthcheck(self): return 'well'")
    assert predictor.healthcheck is not None
    assert predictor.healthcheck() == "well"
    assert loaded(PREDICTOR).healthcheck is None


TRAIN = "def train(n: int) -> int: return n\n"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        pytest.param(TRAIN, "train", id="a function"),
        pytest.param(TRAIN, "", id="the function of that name"),
        pytest.param(PREDICTOR + " def train(self, n: int) -> int: return n", "Predictor", id="a method"),
    ],
)
def test_a_training_is_detected(loaded: Load, code: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COG_MAX_CONCURRENCY", "4")  # is of predictions
    predictor = loaded(code, name, train=True)
    assert (predictor.predict(n=3), predictor.concurrency) == (3, 1)
    assert [parameter.name for parameter in predictor.signature.parameters] == ["n"]


def test_a_class_that_does_not_train_is_refused(loaded: Load):
    with pytest.raises(UnusablePredictor, match="class Predictor defines no train: define it"):
        loaded(PREDICTOR, "Predictor", train=True)


def test_a_fault_is_located_in_the_deepest_file_of_the_predictor(tmp_path: Path, loaded: Load):
    (tmp_path / "inner.py").write_text("import json\n\ndef read():\n return json.loads('{')\n")
    with pytest.raises(ValueError) as raised:
        loaded("import inner\ninner.read()")
    fault = locate_fault(raised.value, tmp_path)
    assert (fault.file, fault.line) == ("inner.py", 4)
    assert str(fault).startswith("inner.py:4: JSONDecodeError: ")


def test_a_predictor_is_at_home_in_its_folder(loaded: Load, tmp_path: Path):
    (tmp_path / "words.txt").write_text("hello")
    predictor = loaded("TEXT = pathlib.Path('words.txt').read_text()\ndef predict(): return TEXT", "predict")
    assert (predictor.predict(), Path(os.getcwd())) == ("hello", tmp_path)


def test_parameters_of_older_annotations(loaded: Load):
    predictor = loaded("import typing\ndef predict(a: 'typing.Optional[int]', b, *, c: str = 'x'): ...", "predict")
    parameters: list[tuple[str, Any]] = [
        (parameter.name, parameter.required) for parameter in predictor.signature.parameters
    ]
    assert parameters == [("a", False), ("b", True), ("c", False)]
