"""What a predictor's document says, without a process."""

import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema_rs import validator_for

from runners.worker.errors import UnusablePredictor
from runners.worker.predictor.loader import as_predictor, load
from runners.worker.predictor.openapi import document

PAIR = "class Pair(BaseModel):\n a: int\n b: Optional[str] = None\n"
_names = itertools.count()


def exposed(code: str) -> dict[str, Any]:
    module = ModuleType(f"predict{next(_names)}")
    sys.modules[module.__name__] = module  # where the annotations of classes are looked up
    exec(f"import enum, functools\nfrom typing import *\nfrom runners.worker.cog import *\n{code}", vars(module))
    return vars(module)


def schemas(code: str) -> dict[str, Any]:
    return document(as_predictor(exposed(code)["Predictor"]))["components"]["schemas"]


def method(arguments: str = "", result: str = " -> str") -> str:
    return f"class Predictor(BasePredictor):\n def predict(self, {arguments}){result}: ...\n"


URI = {"type": "string", "format": "uri"}
SECRET = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}

INPUTS = [
    pytest.param("x: str", {"type": "string"}, True, id="str"),
    pytest.param("x: int = 3", {"type": "integer", "default": 3}, False, id="int"),
    pytest.param("x: float = Input(ge=0, le=1)", {"type": "number", "minimum": 0, "maximum": 1}, True, id="float"),
    pytest.param("x: bool = False", {"type": "boolean", "default": False}, False, id="bool"),
    pytest.param("x: Path", URI, True, id="Path"),
    pytest.param("x: File", URI, True, id="File"),
    pytest.param("x: URLPath", URI, True, id="URLPath"),
    pytest.param("x: URLFile", URI, True, id="URLFile"),
    pytest.param(
        "x: Optional[Path] = None", {**URI, "nullable": True, "default": None}, False, id="Optional with None"
    ),
    pytest.param("x: str | None", {"type": "string", "nullable": True}, False, id="Optional without default"),
    pytest.param("x: str = None", {"type": "string"}, True, id="None is no default of a str"),
    pytest.param("x: int = Input(default=None)", {"type": "integer"}, True, id="None in Input is none either"),
    pytest.param("x: Any = None", {"type": "object"}, True, id="nor of Any"),
    pytest.param("x: str = Input(...)", {"type": "string"}, True, id="an ellipsis is no default"),
    pytest.param("x: list[int]", {"type": "array", "items": {"type": "integer"}}, True, id="list"),
    pytest.param("x: List[Path]", {"type": "array", "items": URI}, True, id="List"),
    pytest.param("x: list", {"type": "array", "items": {}}, True, id="a list of anything"),
    pytest.param(
        "x: list[str] = ['a']", {"type": "array", "items": {"type": "string"}, "default": ["a"]}, False, id="a list's"
    ),
    pytest.param(
        "x: Optional[list[str]] = None",
        {"type": "array", "items": {"type": "string"}, "nullable": True, "default": None},
        False,
        id="Optional list",
    ),
    pytest.param("x: dict", {"type": "object"}, True, id="dict"),
    pytest.param("x: dict[str, int]", {"type": "object"}, True, id="dict of int"),
    pytest.param("x: Any", {"type": "object"}, True, id="Any"),
    pytest.param("x", {}, True, id="not annotated"),
    pytest.param("x=None", {"nullable": True, "default": None}, False, id="not annotated, None"),
    pytest.param("*, x: int = 1", {"type": "integer", "default": 1}, False, id="keyword only"),
    pytest.param("x: 'int' = 1", {"type": "integer", "default": 1}, False, id="PEP 563"),
    pytest.param("x: Annotated[int, 'words'] = 1", {"type": "integer", "default": 1}, False, id="Annotated"),
    pytest.param("x: Annotated[set, Opaque]", {"type": "object"}, True, id="Opaque"),
    pytest.param(
        "x: Annotated[list[set], Opaque]", {"type": "array", "items": {"type": "object"}}, True, id="Opaque list"
    ),
    pytest.param(
        "x: Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, True, id="a union is required"
    ),
    pytest.param(
        "x: int | str | None",
        {
            "anyOf": [{"type": "integer", "nullable": True}, {"type": "string", "nullable": True}],
            "nullable": True,
        },
        True,
        id="a union with None is required too",
    ),
    pytest.param(
        "x: int | list[str] | None = None",
        {
            "anyOf": [
                {"type": "integer", "nullable": True},
                {"type": "array", "items": {"type": "string"}, "nullable": True},
            ],
            "nullable": True,
            "default": None,
        },
        False,
        id="unless it has a default",
    ),
    pytest.param(
        "x: str = Input(description='D', min_length=1, max_length=9, regex='^a', deprecated=True, default='a')",
        {
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
    pytest.param("x: Path = Input(accept='image/*')", {**URI, "x-cog-accept": "image/*"}, True, id="accept"),
    pytest.param(
        "x: list[Path] = Input(accept='.png')",
        {"type": "array", "items": URI, "x-cog-accept": ".png"},
        True,
        id="accept of a list",
    ),
    pytest.param("x: Secret", SECRET, True, id="Secret"),
    pytest.param("x: Secret = None", {**SECRET, "nullable": True, "default": None}, False, id="Secret, None"),
    pytest.param(
        "x: Secret = Input(default=None)", {**SECRET, "nullable": True, "default": None}, False, id="Secret in Input"
    ),
    pytest.param("x: str = Input(choices=[], default='a')", {"type": "string", "default": "a"}, False, id="no choices"),
]


@pytest.mark.parametrize(("argument", "expected", "required"), INPUTS)
def test_an_input(argument: str, expected: dict[str, Any], required: bool):
    input = schemas(method(argument))["Input"]
    assert input["properties"] == {"x": {"title": "X", **expected, "x-order": 0}}
    assert input.get("required", []) == (["x"] if required else [])


def test_inputs_keep_their_order_and_get_a_title():
    properties = schemas(method("max_tokens: int, a: str, numSteps: int"))["Input"]["properties"]
    assert [(name, p["title"], p["x-order"]) for name, p in properties.items()] == [
        ("max_tokens", "Max Tokens", 0),
        ("a", "A", 1),
        ("numSteps", "NumSteps", 2),
    ]


@pytest.mark.parametrize(
    ("argument", "annotations", "choices"),
    [
        pytest.param(
            "size: str = Input(choices=['s', 'm'], default='s')",
            {"default": "s"},
            {"type": "string", "enum": ["s", "m"]},
            id="Input",
        ),
        pytest.param(
            "size: Literal['s', 'm'] = 's'", {"default": "s"}, {"type": "string", "enum": ["s", "m"]}, id="Literal"
        ),
        pytest.param(
            "size: Optional[Literal[1, 2]] = None",
            {"default": None, "nullable": True},
            {"type": "integer", "enum": [1, 2]},
            id="Optional Literal",
        ),
        pytest.param("size: Literal[1, 'm']", {}, {"enum": [1, "m"]}, id="a Literal of two types"),
        pytest.param(
            "size: str = Input(choices=list(enum.Enum('E', {'A': 'a', 'B': 'b'})))",
            {},
            {"type": "string", "enum": ["a", "b"]},
            id="members of an Enum",
        ),
    ],
)
def test_choices_have_a_schema_of_their_own(argument: str, annotations: dict[str, Any], choices: dict[str, Any]):
    found = schemas(method(argument))
    assert found["Input"]["properties"]["size"] == {
        "allOf": [{"$ref": "#/components/schemas/size"}],
        "x-order": 0,
        **annotations,
    }
    assert found["size"] == {"title": "size", "description": "An enumeration.", **choices}


def test_choices_of_a_list_are_of_its_items():
    found = schemas(method("sizes: list[str] = Input(choices=['s', 'm'], default=['s'])"))
    assert found["Input"]["properties"]["sizes"] == {
        "title": "Sizes",
        "type": "array",
        "items": {"$ref": "#/components/schemas/sizes"},
        "default": ["s"],
        "x-order": 0,
    }


def test_a_parameter_may_have_the_name_of_another_schema():
    found = schemas(method("Output: str = Input(choices=['a', 'b']), Status: Literal[1, 2] = 1"))
    assert found["Output"] == {"title": "Output", "type": "string"}
    assert found["Input"]["properties"]["Output"]["allOf"] == [{"$ref": "#/components/schemas/Output_choices"}]
    assert found["Status_choices"]["enum"] == [1, 2]


OUTPUTS = [
    pytest.param(" -> str", {"type": "string"}, id="str"),
    pytest.param(" -> int", {"type": "integer"}, id="int"),
    pytest.param(" -> float", {"type": "number"}, id="float"),
    pytest.param(" -> bool", {"type": "boolean"}, id="bool"),
    pytest.param(" -> Any", {"type": "object"}, id="Any"),
    pytest.param("", {}, id="not annotated"),
    pytest.param(" -> None", {}, id="None"),
    pytest.param(" -> Path", URI, id="Path"),
    pytest.param(" -> File", URI, id="File"),
    pytest.param(" -> Secret", SECRET, id="Secret"),
    pytest.param(" -> list", {"type": "array", "items": {"type": "object"}}, id="bare list"),
    pytest.param(" -> list[Path]", {"type": "array", "items": URI}, id="list"),
    pytest.param(" -> dict", {"type": "object"}, id="bare dict"),
    pytest.param(
        " -> dict[str, list[int]]",
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
        id="dict",
    ),
    pytest.param(" -> Annotated[Pair, Opaque]", {"type": "object"}, id="Opaque"),
    pytest.param(
        " -> Iterator[int]",
        {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"},
        id="iterator",
    ),
    pytest.param(
        " -> AsyncIterator[Path]", {"type": "array", "items": URI, "x-cog-array-type": "iterator"}, id="async iterator"
    ),
    pytest.param(
        " -> Generator[int, None, None]",
        {"type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"},
        id="generator",
    ),
    *[
        pytest.param(
            f" -> {name}[str]",
            {
                "type": "array",
                "items": {"type": "string"},
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            },
            id=name,
        )
        for name in ("ConcatenateIterator", "AsyncConcatenateIterator")
    ],
    pytest.param(
        " -> Pair",
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
    pytest.param(
        " -> list[Outer]",
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "my_pairs": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "a": {"type": "integer", "title": "A"},
                                "b": {"type": "string", "nullable": True, "title": "B"},
                            },
                            "required": ["a"],
                        },
                        "title": "My Pairs",
                    },
                    "file": {**URI, "title": "File"},
                    "again": {"type": "object", "nullable": True, "title": "Again"},
                    "n": {"type": "integer", "title": "N"},
                },
                "required": ["my_pairs", "file"],
            },
        },
        id="nested, and of itself",
    ),
    pytest.param(
        " -> Typed",
        {
            "type": "object",
            "properties": {"a": {"type": "integer", "title": "A"}, "b": {"type": "string", "title": "B"}},
            "required": ["a"],
        },
        id="TypedDict",
    ),
    pytest.param(" -> Colour", {"type": "string", "enum": ["r", "g"]}, id="Enum"),
    pytest.param(" -> Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, id="union"),
]
CLASSES = (
    "class Outer(BaseModel):\n my_pairs: list[Pair]\n file: Path\n again: Optional['Outer'] = None\n n: int = 1\n"
    "class Typed(TypedDict):\n a: int\n b: NotRequired[str]\n"
    "class Colour(str, enum.Enum):\n R = 'r'\n G = 'g'\n"
)


@pytest.mark.parametrize(("result", "expected"), OUTPUTS)
def test_an_output(result: str, expected: dict[str, Any]):
    assert schemas(PAIR + CLASSES + method(result=result))["Output"] == {"title": "Output", **expected}


def test_a_pydantic_model_has_the_schema_of_a_cog_model():
    pydantic = pytest.importorskip("pydantic")
    namespace: dict[str, Any] = {"__name__": "predict", "pydantic": pydantic}
    exec(
        "from typing import *\nclass Pair(pydantic.BaseModel):\n a: int\n b: Optional[str] = None\n c: int = 1\n"
        "def predict() -> Pair: ...",
        namespace,
    )
    output = document(as_predictor(namespace["predict"]))["components"]["schemas"]["Output"]
    assert (list(output["properties"]), output["required"]) == (["a", "b", "c"], ["a"])


def test_a_whole_document():
    found = document(as_predictor(exposed(method("size: Literal['s', 'm'] = 's', n: int = Input(ge=1)"))["Predictor"]))
    invalid = {
        "description": "Validation Error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}},
    }
    nothing = {"200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}}}
    moment = {"type": "string", "format": "date-time"}
    assert found == {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.23.1"},
        "paths": {
            "/": {"get": {"summary": "Root", "operationId": "root__get", "responses": nothing}},
            "/health-check": {
                "get": {"summary": "Healthcheck", "operationId": "healthcheck_health_check_get", "responses": nothing}
            },
            "/predictions": {
                "post": {
                    "summary": "Predict",
                    "description": "Run a single prediction on the model",
                    "operationId": "predict_predictions_post",
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionRequest"}}}
                    },
                    "responses": {
                        "200": {
                            "description": "Successful Response",
                            "content": {
                                "application/json": {"schema": {"$ref": "#/components/schemas/PredictionResponse"}}
                            },
                        },
                        "422": invalid,
                    },
                }
            },
            "/predictions/{prediction_id}/cancel": {
                "post": {
                    "summary": "Cancel",
                    "operationId": "cancel_predictions__prediction_id__cancel_post",
                    "parameters": [
                        {
                            "required": True,
                            "schema": {"title": "Prediction Id", "type": "string"},
                            "name": "prediction_id",
                            "in": "path",
                        }
                    ],
                    "responses": {**nothing, "422": invalid},
                }
            },
        },
        "components": {
            "schemas": {
                "Input": {
                    "title": "Input",
                    "type": "object",
                    "properties": {
                        "size": {"allOf": [{"$ref": "#/components/schemas/size"}], "x-order": 0, "default": "s"},
                        "n": {"title": "N", "type": "integer", "x-order": 1, "minimum": 1},
                    },
                    "required": ["n"],
                },
                "Output": {"title": "Output", "type": "string"},
                "size": {"title": "size", "description": "An enumeration.", "type": "string", "enum": ["s", "m"]},
                "PredictionRequest": {
                    "title": "PredictionRequest",
                    "type": "object",
                    "properties": {
                        "id": {"title": "Id", "type": "string"},
                        "input": {"$ref": "#/components/schemas/Input"},
                    },
                },
                "PredictionResponse": {
                    "title": "PredictionResponse",
                    "type": "object",
                    "properties": {
                        "input": {"$ref": "#/components/schemas/Input"},
                        "output": {"$ref": "#/components/schemas/Output"},
                        "id": {"title": "Id", "type": "string"},
                        "version": {"title": "Version", "type": "string"},
                        "created_at": {"title": "Created At", **moment},
                        "started_at": {"title": "Started At", **moment},
                        "completed_at": {"title": "Completed At", **moment},
                        "status": {"title": "Status", "type": "string"},
                        "error": {"title": "Error", "type": "string"},
                        "logs": {"title": "Logs", "type": "string"},
                        "metrics": {"title": "Metrics", "type": "object"},
                    },
                },
                "Status": {
                    "title": "Status",
                    "description": "An enumeration.",
                    "type": "string",
                    "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
                },
                "HTTPValidationError": {
                    "title": "HTTPValidationError",
                    "type": "object",
                    "properties": {
                        "detail": {
                            "title": "Detail",
                            "type": "array",
                            "items": {"$ref": "#/components/schemas/ValidationError"},
                        }
                    },
                },
                "ValidationError": {
                    "title": "ValidationError",
                    "type": "object",
                    "required": ["loc", "msg", "type"],
                    "properties": {
                        "loc": {
                            "title": "Location",
                            "type": "array",
                            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                        },
                        "msg": {"title": "Message", "type": "string"},
                        "type": {"title": "Error Type", "type": "string"},
                    },
                },
            }
        },
    }


def test_a_training_has_schemas_and_paths_of_its_own():
    code = "def train(size: Literal['x', 'y'], n: int = 1) -> TrainingPair: ...\n"
    namespace = exposed(PAIR.replace("Pair", "TrainingPair") + code + method("size: Literal['s', 'm'] = 's'"))
    found = document(as_predictor(namespace["Predictor"]), as_predictor(namespace["train"], train=True))
    parts = found["components"]["schemas"]
    assert parts["size"]["enum"] == ["s", "m"]
    assert parts["TrainingInput"] == {
        "title": "TrainingInput",
        "type": "object",
        "properties": {
            "size": {"allOf": [{"$ref": "#/components/schemas/size_choices"}], "x-order": 0},
            "n": {"title": "N", "type": "integer", "default": 1, "x-order": 1},
        },
        "required": ["size"],
    }
    assert parts["size_choices"]["enum"] == ["x", "y"]
    assert (parts["TrainingOutput"]["title"], parts["TrainingOutput"]["required"]) == ("Output", ["a"])
    assert parts["TrainingRequest"]["properties"]["input"] == {"$ref": "#/components/schemas/TrainingInput"}
    assert parts["TrainingResponse"]["properties"]["output"] == {"$ref": "#/components/schemas/TrainingOutput"}
    post = found["paths"]["/trainings"]["post"]
    assert (post["summary"], post["operationId"]) == ("Train", "train_trainings_post")
    assert "/trainings/{training_id}/cancel" in found["paths"]


@pytest.mark.parametrize("mark", ["@streaming", "@streaming()"])
def test_what_streams_says_so(mark: str):
    code = method().replace(" def predict", f" {mark}\n def predict")
    post = document(as_predictor(exposed(code)["Predictor"]))["paths"]["/predictions"]["post"]
    assert post["x-cog-streaming"] is True


def test_every_document_can_be_validated_with():
    for case in INPUTS:
        found = document(as_predictor(exposed(method(str(case.values[0])))["Predictor"]))
        validator_for({"$ref": "#/components/schemas/Input", "components": found["components"]})


def test_a_decorated_method_is_read_as_it_was_written():
    wrapping = "def logged(f):\n def inner(*args, **kwargs):\n  return f(*args, **kwargs)\n return inner\n"
    for wrapper in (wrapping, wrapping.replace(" def inner", " @functools.wraps(f)\n def inner")):
        code = wrapper + method("x: int = 1").replace(" def predict", " @logged\n def predict")
        assert schemas(code)["Input"]["properties"]["x"]["default"] == 1


REFUSED = [
    pytest.param(
        "a: int,\n    x: socket", 6, "parameter x: its annotation cannot be resolved: NameError", id="unknown"
    ),
    pytest.param("a: int,\n    *args", 6, "inputs are given by name", id="*args"),
    pytest.param("**kwargs", 5, "inputs are given by name", id="**kwargs"),
    pytest.param("a, /", 5, "inputs are given by name", id="positional only"),
    pytest.param("x: object", 5, "parameter x: the type object cannot be written", id="a type without a word"),
    pytest.param("x: list[object]", 5, "parameter x: the type object cannot be written", id="within a list"),
    pytest.param("a: int,\n    x: str = Input(accept='a/b')", 6, "parameter x: accept is for Path", id="accept"),
    pytest.param("x: int = Input(choices=['a'])", 5, "choices must be values of int, and 'a' is not", id="choices"),
    pytest.param("x: int = 'a'", 5, "the default 'a' is not a value of int", id="default"),
    pytest.param("x: str = Input(default=1)", 5, "the default 1 is not a value of str", id="default in Input"),
    pytest.param("x: bool = 1", 5, "the default 1 is not a value of bool", id="no bool"),
    pytest.param("x: list[int] = ['a']", 5, "is not a value of list[int]", id="default of a list"),
    pytest.param("x: int = Input(default=0, ge=1)", 5, "the default 0 is less than ge=1", id="ge"),
    pytest.param("x: float = Input(default=2, le=1)", 5, "the default 2 is more than le=1", id="le"),
    pytest.param(
        "x: int = Input(ge=2, le=1)", 5, "no value can satisfy its ge and le: 2 is more than 1", id="ge and le"
    ),
    pytest.param("x: str = Input(default='', min_length=1)", 5, "is shorter than min_length=1", id="min_length"),
    pytest.param("x: str = Input(default='ab', max_length=1)", 5, "is longer than max_length=1", id="max_length"),
    pytest.param("x: str = Input(default='b', regex='^a')", 5, "does not match regex='^a'", id="regex"),
    pytest.param("x: str = Input(regex='(')", 5, "regex='(' is not a valid regular expression", id="no regex"),
    pytest.param(
        "x: str = Input(default='c', choices=['a', 'b'])", 5, "is not one of the choices", id="default choice"
    ),
    pytest.param("x: Literal['a'] = 'c'", 5, "is not one of the choices", id="default of a Literal"),
]


def loaded(folder: Path, code: str) -> dict[str, Any]:
    name = f"predict{next(_names)}"  # modules are kept by their names
    (folder / f"{name}.py").write_text(
        "from __future__ import annotations\nfrom typing import *\nfrom runners.worker.cog import *\n" + code
    )
    return document(load(folder, f"{name}.py:Predictor"))


@pytest.mark.parametrize(("arguments", "line", "reason"), REFUSED)
def test_what_cannot_run_is_refused(
    tmp_path: Path, arguments: str, line: int, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnusablePredictor) as refused:
        loaded(tmp_path, method(arguments))
    assert reason in str(refused.value)
    assert refused.value.place is not None
    assert refused.value.place.line == line
    assert refused.value.stage == "schema"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        pytest.param(" -> Optional[str]", "the output: an Optional return is not possible", id="Optional"),
        pytest.param(" -> int | str | None", "the output: an Optional return is not possible", id="or None"),
        pytest.param(" -> nowhere.Tensor", "the return annotation cannot be resolved", id="unknown"),
        pytest.param(" -> Bad", "the output: field x of Bad: the type object cannot be written", id="a field"),
    ],
)
def test_an_output_without_a_schema_is_refused(
    tmp_path: Path, result: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    bad = "class Bad(BaseModel):\n x: object\n"
    with pytest.raises(UnusablePredictor) as refused:
        loaded(tmp_path, bad + f"class Predictor(BasePredictor):\n def predict(\n  self, x: int = 1\n ){result}: ...\n")
    assert reason in str(refused.value)
    assert refused.value.place is not None
    assert refused.value.place.line == 9
