"""What a predictor's schema says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from tests.runners.worker.driver import HOST, write_predictor

HEAD = "from typing import *\nfrom cog import *\n"


def introspect(
    folder: Path,
    ref: str = "predict.py:Predictor",
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The document that the process writes."""
    ours, theirs = os.pipe()
    with open(ours, "rb") as reading:
        with open(theirs, "wb"):
            process = subprocess.Popen(
                [sys.executable, str(HOST), "introspect", str(folder), "--fd", str(theirs), "--ref", ref],
                pass_fds=[theirs],
                env={**os.environ, **(environment or {})},
                stdout=subprocess.DEVNULL,
            )
        text = reading.read()
    assert process.wait(20) == 0
    return json.decode(text)


PREDICT = "class Predictor(BasePredictor):\n def predict(self, x: str) -> str: ...\n"


def test_the_options_are_reported_beside_the_document(tmp_path: Path):
    code = PREDICT.replace(" def predict", " max_batch_size = 4\n @streaming\n def predict")
    document = introspect(
        write_predictor(tmp_path, HEAD + code + " def predict_batch(self, inputs): ...\n def healthcheck(self): ...\n")
    )
    assert document.pop("schema")["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    assert document == {
        "cog_version": "0.23.1",
        "name": "Predictor",
        "max_batch_size": 4,
        "max_batch_wait_ms": 0.0,
        "concurrency": 1,
        "healthcheck": True,
        "streaming": True,
    }


def test_a_training_is_part_of_the_document(tmp_path: Path):
    write_predictor(tmp_path, "def predict(x: str) -> str: ...\n", training="def train(n: int) -> str: ...\n")
    code = "import sys, pathlib\nfrom runners.worker.predictor.introspect import introspect\n"
    call = "introspect(pathlib.Path(sys.argv[1]), 'predict.py:predict', 1, train='training.py:train')"
    root = Path(__file__).parents[3]
    text = subprocess.run([sys.executable, "-c", code + call, tmp_path], stdout=subprocess.PIPE, cwd=root, check=True)
    document = json.decode(text.stdout)["schema"]
    assert document["components"]["schemas"]["TrainingInput"]["required"] == ["n"]
    assert {"/predictions", "/trainings"} < document["paths"].keys()


def with_built_schema(folder: Path, text: str) -> Path:
    (folder / ".cog").mkdir()
    (folder / ".cog" / "openapi_schema.json").write_text(text)
    return folder


def test_a_built_schema_is_used_as_it_is_and_the_rest_is_still_read(tmp_path: Path):
    code = PREDICT.replace(" def predict", " @concurrent(max=3)\n async def predict")
    document = introspect(
        with_built_schema(write_predictor(tmp_path, HEAD + code), '{"openapi": "3.0.2", "mine": true}')
    )
    assert (document["schema"], document["concurrency"]) == ({"openapi": "3.0.2", "mine": True}, 3)


def test_a_built_schema_does_not_hide_that_the_predictor_cannot_be_imported(tmp_path: Path):
    error = introspect(with_built_schema(write_predictor(tmp_path, "x = 1\nimport nowhere"), "{}"))["error"]
    assert (error["stage"], error["file"], error["line"]) == ("import", "predict.py", 2)


def test_a_built_schema_that_is_no_json_is_named(tmp_path: Path):
    error = introspect(with_built_schema(write_predictor(tmp_path, HEAD + PREDICT), "{,}"))["error"]
    assert (error["stage"], error["file"], error["line"]) == ("schema", ".cog/openapi_schema.json", 1)
    assert "it is not a JSON object" in error["message"]


def test_the_predictors_own_modules_win(tmp_path: Path):
    names = ["schemas", "utils", "gateway", "runners", "deploy", "kinds", "introspect", "predictor", "cog_something"]
    code = f"import {', '.join(names)}\nfrom cog import *\nassert all(m.MINE for m in ({', '.join(names)},))\n"
    document = introspect(write_predictor(tmp_path, code + PREDICT, **dict.fromkeys(names, "MINE = True")))
    assert "error" not in document, document


@pytest.mark.parametrize("name", ["gateway", "schemas", "runners", "deploy"])
def test_its_own_folders_win_without_being_packages(tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    (tmp_path / name / "app.py").write_text("MINE = True")
    document = introspect(
        write_predictor(tmp_path, f"from {name}.app import MINE\nfrom cog import *\nassert MINE\n" + PREDICT)
    )
    assert "error" not in document, document


def test_our_packages_cannot_be_imported(tmp_path: Path):
    assert (
        "No module named 'gateway'"
        in introspect(write_predictor(tmp_path, "import gateway\n" + PREDICT))["error"]["message"]
    )


BOTH = "class Predictor:\n def run(self): ...\n def predict(self): ...\n"
ERRORS = [
    pytest.param("x = 1\nimport nowhere", "import", "predict.py", 2, "No module named 'nowhere'", id="import"),
    pytest.param("def f(:", "import", "predict.py", 1, "SyntaxError", id="syntax"),
    pytest.param("import broken", "import", "broken.py", 2, "SyntaxError", id="syntax in another file"),
    pytest.param("import raising", "import", "raising.py", 2, "ValueError: no", id="an error in another file"),
    pytest.param("import sys\nsys.exit(0)", "import", "predict.py", 2, "sys.exit(0)", id="exit"),
    pytest.param("x = 1", "import", None, None, "predict.py: it defines no Predictor", id="no predictor"),
    pytest.param("Predictor = 1", "import", None, None, "1 is neither a class nor a function", id="a number"),
    pytest.param("\n" + BOTH, "import", "predict.py", 2, "defines both run and predict", id="both methods"),
    pytest.param("class Predictor: ...", "import", "predict.py", 1, "defines neither run nor predict", id="no method"),
    pytest.param(
        HEAD + "class Predictor(BaseRunner): ...", "import", "predict.py", 3, "neither run nor predict", id="inherited"
    ),
    pytest.param(
        HEAD + PREDICT + " def __init__(self, x): ...",
        "import",
        "predict.py",
        3,
        "__init__ requires x",
        id="a constructor with a required argument",
    ),
    pytest.param(
        HEAD + PREDICT + " def setup(self, model): ...",
        "import",
        "predict.py",
        5,
        "setup: it is called with weights or nothing, but requires model",
        id="a set-up with a required argument",
    ),
    pytest.param(
        HEAD + PREDICT.replace(" def", " @concurrent(max=2)\n def"),
        "import",
        "predict.py",
        4,
        "predict is not async",
        id="a sync method cannot be concurrent",
    ),
    pytest.param(
        HEAD + PREDICT.replace("x: str", "x: str = Input(default_factory=list)"),
        "import",
        "predict.py",
        4,
        "takes no default_factory",
        id="default_factory",
    ),
    pytest.param(
        HEAD + PREDICT.replace("str)", "socket)"), "import", "predict.py", 4, "name 'socket'", id="an unknown type"
    ),
    pytest.param(
        HEAD + PREDICT.replace("x: str", "a: int,\n  x: object"),
        "schema",
        "predict.py",
        5,
        "parameter x: the type object",
        id="a type without a schema",
    ),
    pytest.param(
        HEAD + PREDICT.replace("-> str", "-> Optional[str]"),
        "schema",
        "predict.py",
        4,
        "the output: an Optional return",
        id="output",
    ),
]


@pytest.mark.parametrize(("code", "stage", "file", "line", "message"), ERRORS)
def test_an_error_names_its_stage_file_and_line(
    tmp_path: Path, code: str, stage: str, file: str | None, line: int | None, message: str
):
    folder = write_predictor(tmp_path, code, broken="\nx = = 1", raising="x = 1\nraise ValueError('no')")
    error = introspect(folder)["error"]
    assert (error["stage"], error["file"], error["line"]) == (stage, file, line)
    assert message in error["message"]


def test_concurrency_of_the_environment_needs_an_async_method(tmp_path: Path):
    error = introspect(write_predictor(tmp_path, HEAD + PREDICT), environment={"COG_MAX_CONCURRENCY": "4"})["error"]
    assert (error["file"], error["line"]) == ("predict.py", 4)
    assert "predict is not async, and only async functions take 4 predictions at once" in error["message"]


def test_a_trace_has_the_predictors_frames_only(tmp_path: Path):
    code = "def load():\n try:\n  1 / 0\n except ZeroDivisionError as e:\n  raise ValueError('no') from e\nload()"
    trace = introspect(write_predictor(tmp_path, code))["error"]["trace"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("ValueError: no\n")
    assert "ZeroDivisionError: division by zero" in trace
    files = {line.split('"')[1] for line in trace.splitlines() if line.startswith('  File "')}
    assert files == {str(tmp_path / "predict.py")}


def test_a_trace_has_no_frames_of_the_sdk(tmp_path: Path):
    trace = introspect(write_predictor(tmp_path, HEAD + PREDICT.replace(" def", " @concurrent(max=2)\n def")))["error"][
        "trace"
    ]
    files = {line.split('"')[1] for line in trace.splitlines() if line.startswith('  File "')}
    assert files == {str(tmp_path / "predict.py")}


def test_the_bundled_models_are_introspected_without_their_weights():
    bundled = Path(__file__).parents[3] / "runners" / "models"
    names = ("hello-world", "count", "minilm", "smollm2", "classify", "classify-text", "upscale", "emoji", "ocr")
    document = {name: introspect(bundled / name) for name in names}
    inputs = {
        name: list(each["schema"]["components"]["schemas"]["Input"]["properties"]) for name, each in document.items()
    }
    assert inputs == {
        "hello-world": ["text"],
        "count": ["n", "delay"],
        "minilm": ["text"],
        "smollm2": ["prompt", "system_prompt", "max_tokens", "temperature", "top_p", "seed", "messages"],
        "classify": ["image", "top_k"],
        "classify-text": ["text"],
        "upscale": ["image", "scale"],
        "emoji": ["prompt", "seed", "steps", "size"],
        "ocr": ["image"],
    }
    assert {name: document[name]["max_batch_size"] for name in ("minilm", "classify", "emoji", "ocr")} == {
        "minilm": 32,
        "classify": 16,
        "emoji": 16,
        "ocr": 1,
    }
    output = document["smollm2"]["schema"]["components"]["schemas"]["Output"]
    assert output["x-cog-array-display"] == "concatenate"
