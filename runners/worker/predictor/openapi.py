"""The OpenAPI document of a predictor, as Cog writes it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from ..cog.input import MISSING
from ..errors import SourceLine, UnusablePredictor
from ..type_hints import is_union
from . import openapi_paths
from .defaults import check_parameter, to_json
from .loader import Predictor
from .signature import Parameter, Result, Signature
from .source_lines import line_of_parameter, line_of_result
from .type_schemas import Schema, SchemaError, has_file, input_schema, output_schema, title

_LIMIT_KEYWORDS: Final = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
    "accept": "x-cog-accept",
}
_COMMON_SCHEMAS: Final = (
    openapi_paths.PREDICTION_SCHEMAS,
    openapi_paths.TRAINING_SCHEMAS,
    openapi_paths.COMMON_SCHEMAS,
)
_RESERVED_NAMES: Final = {"Input", "Output", "TrainingInput", "TrainingOutput"}.union(*_COMMON_SCHEMAS)


def document(predictor: Predictor, train: Predictor | None = None) -> Schema:
    """Return the document. Raises `UnusablePredictor`, naming what a schema cannot say and its line."""
    schemas = _signature_schemas(predictor.signature, "Input", "Output", {})
    routes = openapi_paths.prediction_paths(streaming=predictor.streaming)
    schemas |= openapi_paths.PREDICTION_SCHEMAS
    if train is not None:
        schemas |= (
            _signature_schemas(train.signature, "TrainingInput", "TrainingOutput", schemas)
            | openapi_paths.TRAINING_SCHEMAS
        )
        routes |= openapi_paths.training_paths()
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": openapi_paths.VERSION},
        "paths": routes,
        "components": {"schemas": schemas | openapi_paths.COMMON_SCHEMAS},
    }


def _signature_schemas(signature: Signature, input: str, output: str, existing: dict[str, Schema]) -> dict[str, Schema]:
    properties: dict[str, Schema] = {}
    choices: dict[str, Schema] = {}
    for order, parameter in enumerate(signature.parameters):
        with _locate_errors(signature, parameter.name):
            check_parameter(parameter)
            if parameter.field.choices is None:
                properties[parameter.name] = _property(parameter, order)
            else:
                name = _free_name(parameter.name, _RESERVED_NAMES | existing.keys())
                choices[name] = _choice_schema(parameter)
                properties[parameter.name] = _choice_property(parameter, name, order)
    schema: Schema = {"title": input, "type": "object", "properties": properties}
    if required := [parameter.name for parameter in signature.parameters if parameter.required]:
        schema["required"] = required
    with _locate_errors(signature, None):
        return {input: schema, output: _output(signature.result), **choices}


@contextmanager
def _locate_errors(signature: Signature, parameter: str | None) -> Generator[None]:
    """Add the predictor's line to an error within the block: that of the parameter, or without one of the output."""
    try:
        yield
    except SchemaError as error:
        what = "the output" if parameter is None else f"parameter {parameter}"
        raise UnusablePredictor(f"{what}: {error}", _line(signature, parameter)) from error


def _line(signature: Signature, parameter: str | None) -> SourceLine | None:
    if signature.function is None:
        return None
    if parameter is None:
        return line_of_result(signature.function)
    return line_of_parameter(signature.function, parameter)


def _free_name(name: str, used: set[str]) -> str:
    """Return a component's name that is free. Cog uses the parameter's, even if another has it already."""
    while name in used:
        name += "_choices"
    return name


def _property(parameter: Parameter, order: int) -> Schema:
    if parameter.field.accept and not has_file(parameter.type):
        raise SchemaError("accept is for Path and File only; remove it, or make the type Path")
    schema = input_schema(parameter.type)
    if parameter.optional and is_union(parameter.type):
        schema = {"anyOf": [{**variant, "nullable": True} for variant in schema["anyOf"]]}
    return {"title": title(parameter.name), **schema, "x-order": order, **_description(parameter), **_limits(parameter)}


def _choice_schema(parameter: Parameter) -> Schema:
    choices = parameter.field.choices
    kinds = {cast("type[Any]", type(choice)) for choice in choices or ()}
    schema = input_schema(kinds.pop()) if len(kinds) == 1 else {}
    return {"title": parameter.name, "description": "An enumeration.", "enum": choices, **schema}


def _choice_property(parameter: Parameter, name: str, order: int) -> Schema:
    reference: Schema = {"$ref": f"#/components/schemas/{name}"}
    if input_schema(parameter.type).get("type") == "array":
        schema = {"title": title(parameter.name), "type": "array", "items": reference}
    else:
        schema = {"allOf": [reference]}
    return {**schema, "x-order": order, **_description(parameter), **_limits(parameter)}


def _description(parameter: Parameter) -> Schema:
    field = parameter.field
    schema: Schema = {}
    if field.default is not MISSING:
        schema["default"] = to_json(field.default)
    if parameter.optional:
        schema["nullable"] = True
    if field.description is not None:
        schema["description"] = field.description
    if field.deprecated:
        schema["deprecated"] = True
    return schema


def _limits(parameter: Parameter) -> Schema:
    limits = {keyword: getattr(parameter.field, name) for name, keyword in _LIMIT_KEYWORDS.items()}
    return {keyword: value for keyword, value in limits.items() if value is not None}


def _output(result: Result) -> Schema:
    if result.optional:
        raise SchemaError("an Optional return is not possible: a prediction that succeeds has an output, or raises")
    schema = output_schema(result.type)
    if result.many:
        schema = {"type": "array", "items": schema, "x-cog-array-type": "iterator"}
    if result.concatenated:
        schema["x-cog-array-display"] = "concatenate"
    return {"title": "Output", **schema}
