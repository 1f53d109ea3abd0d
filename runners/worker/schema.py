"""The OpenAPI document of a predictor, in the words that Cog uses."""

import dataclasses
from enum import Enum
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints

from .cog.files import File, Path
from .cog.input import MISSING, Field
from .cog.markers import STREAMING
from .cog.secret import Secret
from .predictor import Predictor
from .signature import Parameter, Result, Unusable

Schema = dict[str, Any]

_SIMPLE: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string", "format": "uri"},
    File: {"type": "string", "format": "uri"},
    Secret: {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    Any: {},
}


def document(predictor: Predictor) -> Schema:
    """Raises `Unusable`, naming what cannot be said."""
    inputs, choices = _inputs(predictor.signature.parameters)
    schemas = {"Input": inputs, "Output": _output(predictor.signature.result), **choices, **_FIXED}
    post = _POST | ({"x-cog-streaming": True} if getattr(predictor.predict, STREAMING, False) else {})
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {"/predictions": {"post": post}},
        "components": {"schemas": schemas},
    }


def _inputs(parameters: tuple[Parameter, ...]) -> tuple[Schema, dict[str, Schema]]:
    properties: dict[str, Schema] = {}
    choices: dict[str, Schema] = {}
    for order, parameter in enumerate(parameters):
        if parameter.field.choices is None:
            properties[parameter.name] = _property(parameter, order)
        else:
            choices[parameter.name] = _choice(parameter)
            properties[parameter.name] = _chosen(parameter, order)
    schema: Schema = {"type": "object", "title": "Input", "properties": properties}
    if required := [parameter.name for parameter in parameters if parameter.required]:
        schema["required"] = required
    return schema, choices


def _property(parameter: Parameter, order: int) -> Schema:
    field = parameter.field
    files = parameter.type in (Path, File) or set(get_args(parameter.type)) & {Path, File}
    if field.accept and not files:
        raise Unusable(f"parameter {parameter.name}: accept is for Path and File only")
    return {
        "title": _title(parameter.name),
        **_type(parameter.type, f"parameter {parameter.name}"),
        "x-order": order,
        **_said(parameter),
        **_limits(field),
    }


def _choice(parameter: Parameter) -> Schema:
    choices = parameter.field.choices or []
    if parameter.type not in (str, int, float, bool):
        raise Unusable(f"parameter {parameter.name}: choices need the type str, int or float")
    wrong = [choice for choice in choices if not isinstance(choice, parameter.type)]
    if wrong or not choices:
        raise Unusable(f"parameter {parameter.name}: choices must be values of {parameter.type.__name__}: {wrong}")
    return {
        **_type(parameter.type, ""),
        "title": parameter.name,
        "description": "An enumeration.",
        "enum": choices,
    }


def _chosen(parameter: Parameter, order: int) -> Schema:
    return {
        "allOf": [{"$ref": f"#/components/schemas/{parameter.name}"}],
        "x-order": order,
        **_said(parameter),
    }


def _said(parameter: Parameter) -> Schema:
    field = parameter.field
    said: Schema = {}
    if field.default is not MISSING and field.default is not None:
        said["default"] = _json(field.default)
    if field.description is not None:
        said["description"] = field.description
    if parameter.optional:
        said["nullable"] = True
    if field.deprecated:
        said["deprecated"] = True
    return said


def _limits(field: Field) -> Schema:
    limits = {
        "minimum": field.ge,
        "maximum": field.le,
        "minLength": field.min_length,
        "maxLength": field.max_length,
        "pattern": field.regex,
        "x-cog-accept": field.accept,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _output(result: Result) -> Schema:
    if not result.many:
        return {**_type(result.type, "the output"), "title": "Output"}
    schema: Schema = {
        "type": "array",
        "items": _type(result.type, "the output"),
        "title": "Output",
        "x-cog-array-type": "iterator",
    }
    return schema | ({"x-cog-array-display": "concatenate"} if result.concatenated else {})


def _type(hint: Any, where: str) -> Schema:
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in (list, tuple, set):
        return {"type": "array", "items": _type(arguments[0], where) if arguments else {}}
    if origin is dict:
        return {"type": "object"}
    if origin is Union or type(hint).__name__ == "UnionType":
        return {"anyOf": [_type(variant, where) for variant in arguments if variant is not type(None)]}
    if isinstance(hint, type):
        return _class(hint, where)
    raise Unusable(f"{where}: the type {hint!r} cannot be told in a schema")


def _class(kind: type[Any], where: str) -> Schema:
    for simple, schema in _SIMPLE.items():
        if isinstance(simple, type) and issubclass(kind, simple) and not issubclass(kind, Enum):
            return dict(schema)
    if hasattr(kind, "__fspath__"):
        return dict(_SIMPLE[Path])
    if issubclass(kind, Enum):
        values = [member.value for member in kind]
        return {**_type(type(values[0]), where), "enum": values}
    if dataclasses.is_dataclass(kind):
        return _fields(kind, where)
    if callable(told := getattr(kind, "model_json_schema", None)):  # pydantic
        return cast("Schema", told())
    raise Unusable(f"{where}: the type {kind.__name__} cannot be told in a schema; use cog.BaseModel for named fields")


def _fields(kind: type[Any], where: str) -> Schema:
    hints = get_type_hints(kind)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for field in dataclasses.fields(kind):
        variants = get_args(hints[field.name])
        optional = type(None) in variants
        schema = _type(hints[field.name], f"{where}, field {field.name}")
        if optional and len(variants) == 2:
            schema = {**schema["anyOf"][0], "nullable": True}
        properties[field.name] = {**schema, "title": _title(field.name)}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING and not optional:
            required.append(field.name)
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def _json(default: Any) -> Any:
    match default:
        case Enum():
            return default.value
        case Secret():
            return default.get_secret_value()
        case _ if hasattr(default, "__fspath__"):
            return str(default)
        case _:
            return default


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, name: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


_POST: Final[Schema] = {
    "summary": "Predict",
    "description": "Run a single prediction on the model",
    "operationId": "predict_predictions_post",
    "requestBody": {"content": {"application/json": {"schema": _ref("PredictionRequest")}}},
    "responses": {
        "200": _answer("Successful Response", "PredictionResponse"),
        "422": _answer("Validation Error", "HTTPValidationError"),
    },
}

_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}

_FIXED: Final[dict[str, Schema]] = {
    "Status": {
        "title": "Status",
        "description": "An enumeration.",
        "type": "string",
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
    },
    "WebhookEvent": {
        "title": "WebhookEvent",
        "description": "An enumeration.",
        "type": "string",
        "enum": ["start", "output", "logs", "completed"],
    },
    "PredictionRequest": {
        "title": "PredictionRequest",
        "type": "object",
        "properties": {
            "id": {"title": "Id", "type": "string"},
            "input": _ref("Input"),
            "created_at": {"title": "Created At", **_MOMENT},
            "output_file_prefix": {"title": "Output File Prefix", "type": "string"},
            "webhook": {"title": "Webhook", "type": "string", "format": "uri", "maxLength": 65536, "minLength": 1},
            "webhook_events_filter": {"type": "array", "items": _ref("WebhookEvent")},
        },
    },
    "PredictionResponse": {
        "title": "PredictionResponse",
        "type": "object",
        "properties": {
            "id": {"title": "Id", "type": "string"},
            "input": _ref("Input"),
            "output": _ref("Output"),
            "version": {"title": "Version", "type": "string"},
            "status": _ref("Status"),
            "error": {"title": "Error", "type": "string"},
            "logs": {"title": "Logs", "type": "string", "default": ""},
            "metrics": {"title": "Metrics", "type": "object"},
            "created_at": {"title": "Created At", **_MOMENT},
            "started_at": {"title": "Started At", **_MOMENT},
            "completed_at": {"title": "Completed At", **_MOMENT},
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
    "HTTPValidationError": {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": _ref("ValidationError")}},
    },
}
