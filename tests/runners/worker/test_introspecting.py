"""What a predictor's schema says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from runners.worker.predictor import made
from runners.worker.schema import document
from tests.runners.worker.driver import HOST, write

HEAD = "from typing import *\nfrom cog import *\n"


def told(folder: Path, ref: str = "predict.py:Predictor") -> dict[str, Any]:
    """The document that the process writes."""
    ours, theirs = os.pipe()
    with open(ours, "rb") as reading:
        with open(theirs, "wb"):
            process = subprocess.Popen(
                [sys.executable, str(HOST), "introspect", str(folder), "--fd", str(theirs), "--ref", ref],
                pass_fds=[theirs],
                stdout=subprocess.DEVNULL,
            )
        text = reading.read()
    assert process.wait(20) == 0
    return json.decode(text)


def schemas(code: str) -> dict[str, Any]:
    """The same without a process."""
    namespace: dict[str, Any] = {"__name__": "predict"}
    exec("from typing import *\nfrom runners.worker.cog import *\n" + code, namespace)
    return document(made(namespace["Predictor"]))["components"]["schemas"]


def method(arguments: str = "", result: str = "str") -> str:
    return f"class Predictor(BasePredictor):\n def predict(self, {arguments}) -> {result}: ...\n"


INPUTS = [
    pytest.param("x: str", {"title": "X", "type": "string"}, True, id="str"),
    pytest.param("x: int = 3", {"title": "X", "type": "integer", "default": 3}, False, id="int"),
    pytest.param(
        "x: float = Input(ge=0, le=1)", {"title": "X", "type": "number", "minimum": 0, "maximum": 1}, True, id="float"
    ),
    pytest.param("x: bool = False", {"title": "X", "type": "boolean", "default": False}, False, id="bool"),
    pytest.param("x: Path", {"title": "X", "type": "string", "format": "uri"}, True, id="Path"),
    pytest.param(
        "x: Optional[Path] = None",
        {"title": "X", "type": "string", "format": "uri", "nullable": True},
        False,
        id="Optional",
    ),
    pytest.param(
        "x: str | None", {"title": "X", "type": "string", "nullable": True}, False, id="Optional without default"
    ),
    pytest.param("x: str = None", {"title": "X", "type": "string"}, True, id="None is no default of a str"),
    pytest.param("x: list[int]", {"title": "X", "type": "array", "items": {"type": "integer"}}, True, id="list"),
    pytest.param(
        "x: List[Path]", {"title": "X", "type": "array", "items": {"type": "string", "format": "uri"}}, True, id="List"
    ),
    pytest.param("x: dict", {"title": "X", "type": "object"}, True, id="dict"),
    pytest.param("x", {"title": "X"}, True, id="not annotated"),
    pytest.param(
        "x: str = Input(description='D', min_length=1, max_length=9, regex='^a', deprecated=True, default='a')",
        {
            "title": "X",
            "type": "string",
            "description": "D",
            "minLength": 1,
            "maxLength": 9,
            "pattern": "^a",
            "deprecated": True,
            "default": "a",
        },
        False,
        id="Input",
    ),
    pytest.param(
        "x: Secret = None",
        {"title": "X", "type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
        False,
        id="Secret",
    ),
]


@pytest.mark.parametrize(("argument", "expected", "required"), INPUTS)
def test_an_input(argument: str, expected: dict[str, Any], required: bool):
    input = schemas(method(argument))["Input"]
    assert input["properties"] == {"x": {**expected, "x-order": 0}}
    assert input.get("required", []) == (["x"] if required else [])


def test_inputs_keep_their_order_and_get_a_title():
    properties = schemas(method("max_tokens: int, a: str"))["Input"]["properties"]
    assert [(name, p["title"], p["x-order"]) for name, p in properties.items()] == [
        ("max_tokens", "Max Tokens", 0),
        ("a", "A", 1),
    ]


@pytest.mark.parametrize(
    "argument", ["size: str = Input(choices=['s', 'm'], default='s')", "size: Literal['s', 'm'] = 's'"]
)
def test_choices_have_a_schema_of_their_own(argument: str):
    found = schemas(method(argument))
    assert found["Input"]["properties"]["size"] == {
        "allOf": [{"$ref": "#/components/schemas/size"}],
        "default": "s",
        "x-order": 0,
    }
    assert found["size"] == {
        "type": "string",
        "title": "size",
        "description": "An enumeration.",
        "enum": ["s", "m"],
    }


OUTPUTS = [
    pytest.param("str", {"type": "string"}, id="str"),
    pytest.param("int", {"type": "integer"}, id="int"),
    pytest.param("float", {"type": "number"}, id="float"),
    pytest.param("bool", {"type": "boolean"}, id="bool"),
    pytest.param("Any", {}, id="Any"),
    pytest.param("Path", {"type": "string", "format": "uri"}, id="Path"),
    pytest.param("list[Path]", {"type": "array", "items": {"type": "string", "format": "uri"}}, id="list"),
    pytest.param("dict[str, int]", {"type": "object"}, id="dict"),
    pytest.param(
        "Iterator[int]", {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"}, id="iterator"
    ),
    pytest.param(
        "AsyncIterator[int]",
        {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"},
        id="async",
    ),
    pytest.param(
        "ConcatenateIterator[str]",
        {
            "type": "array",
            "items": {"type": "string"},
            "x-cog-array-type": "iterator",
            "x-cog-array-display": "concatenate",
        },
        id="joined",
    ),
    pytest.param(
        "Pair",
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "title": "A"},
                "b": {"type": "string", "nullable": True, "title": "B"},
            },
            "required": ["a"],
        },
        id="BaseModel",
    ),
]


@pytest.mark.parametrize(("result", "expected"), OUTPUTS)
def test_an_output(result: str, expected: dict[str, Any]):
    pair = "class Pair(BaseModel):\n a: int\n b: Optional[str] = None\n"
    assert schemas(pair + method(result=result))["Output"] == {**expected, "title": "Output"}


def test_the_rest_of_the_document(tmp_path: Path):
    code = method("x: str").replace(" def predict", " max_batch_size = 4\n @streaming\n def predict")
    found = told(write(tmp_path, HEAD + code + " def predict_batch(self, inputs): ...\n"))
    assert {key: found[key] for key in found if key != "schema"} == {
        "cog_version": "0.23.1",
        "name": "Predictor",
        "max_batch_size": 4,
        "max_batch_wait_ms": 0.0,
    }
    schema = found["schema"]
    assert (schema["openapi"], schema["info"]) == ("3.0.2", {"title": "Cog", "version": "0.1.0"})
    assert schema["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    assert set(schema["components"]["schemas"]) == {
        "Input",
        "Output",
        "PredictionRequest",
        "PredictionResponse",
        "Status",
        "WebhookEvent",
        "HTTPValidationError",
        "ValidationError",
    }


def test_a_built_schema_is_used_as_it_is(tmp_path: Path):
    write(tmp_path, "raise SystemExit")
    (tmp_path / ".cog").mkdir()
    (tmp_path / ".cog" / "openapi_schema.json").write_text('{"openapi": "3.0.2", "mine": true}')
    assert told(tmp_path)["schema"] == {"openapi": "3.0.2", "mine": True}


ERRORS = [
    pytest.param("x = 1\nimport nowhere", "import", "predict.py", 2, "No module named 'nowhere'", id="import"),
    pytest.param("def f(:", "import", "predict.py", 1, "SyntaxError", id="syntax"),
    pytest.param("import sys\nsys.exit(0)", "import", "predict.py", 2, "sys.exit(0)", id="exit"),
    pytest.param("x = 1", "import", None, None, "defines no Predictor", id="no predictor"),
    pytest.param(HEAD + method("x: socket"), "import", "predict.py", 4, "name 'socket'", id="an unknown type"),
    pytest.param(
        HEAD + method("x: object"), "schema", None, None, "parameter x: the type object", id="a type without a schema"
    ),
    pytest.param(
        HEAD + method("x: str = Input(accept='a/b')"), "schema", None, None, "parameter x: accept is for", id="accept"
    ),
    pytest.param(
        HEAD + method("x: int = Input(choices=['a'])"),
        "schema",
        None,
        None,
        "parameter x: choices must be",
        id="choices",
    ),
]


@pytest.mark.parametrize(("code", "stage", "file", "line", "message"), ERRORS)
def test_what_cannot_be_told_says_why(
    tmp_path: Path, code: str, stage: str, file: str | None, line: int | None, message: str
):
    error = told(write(tmp_path, code))["error"]
    assert (error["stage"], error["file"], error["line"]) == (stage, file, line)
    assert message in error["message"]


def test_the_bundled_models_are_told_without_their_weights():
    bundled = Path(__file__).parents[3] / "runners" / "models"
    found = {name: told(bundled / name) for name in ("hello-world", "count", "minilm", "smollm2")}
    inputs = {
        name: list(told["schema"]["components"]["schemas"]["Input"]["properties"]) for name, told in found.items()
    }
    assert inputs == {
        "hello-world": ["text"],
        "count": ["n", "delay"],
        "minilm": ["text"],
        "smollm2": ["prompt", "system_prompt", "max_tokens", "temperature", "top_p", "seed"],
    }
    assert found["minilm"]["max_batch_size"] == 32
    output = found["smollm2"]["schema"]["components"]["schemas"]["Output"]
    assert output["x-cog-array-display"] == "concatenate"
