"""The OpenAPI document of a predictor, in the words that Cog uses."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from ..cog.input import MISSING
from . import openapi_paths
from .defaults import check, json_of
from .loader import Predictor
from .signature import Parameter, Result, Signature, Unusable, is_union
from .source_lines import Place, of_parameter, of_result
from .type_schemas import Schema, Untellable, has_file, of_input, of_output, title

_LIMITS: Final = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
    "accept": "x-cog-accept",
}
_OTHERS: Final = (openapi_paths.PREDICTION, openapi_paths.TRAINING, openapi_paths.COMMON)
_TAKEN: Final = {"Input", "Output", "TrainingInput", "TrainingOutput"}.union(*_OTHERS)


def document(predictor: Predictor, train: Predictor | None = None) -> Schema:
    """Raises `Unusable`, naming what cannot be said and where it is."""
    schemas = _signature(predictor.signature, "Input", "Output", {})
    routes = openapi_paths.prediction(streaming=predictor.streaming)
    schemas |= openapi_paths.PREDICTION
    if train is not None:
        schemas |= _signature(train.signature, "TrainingInput", "TrainingOutput", schemas) | openapi_paths.TRAINING
        routes |= openapi_paths.training()
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": openapi_paths.VERSION},
        "paths": routes,
        "components": {"schemas": schemas | openapi_paths.COMMON},
    }


def _signature(signature: Signature, input: str, output: str, taken: dict[str, Schema]) -> dict[str, Schema]:
    properties: dict[str, Schema] = {}
    choices: dict[str, Schema] = {}
    for order, parameter in enumerate(signature.parameters):
        with _placed(signature, parameter.name):
            check(parameter)
            if parameter.field.choices is None:
                properties[parameter.name] = _property(parameter, order)
            else:
                name = _free(parameter.name, _TAKEN | taken.keys())
                choices[name] = _choice(parameter)
                properties[parameter.name] = _chosen(parameter, name, order)
    schema: Schema = {"title": input, "type": "object", "properties": properties}
    if required := [parameter.name for parameter in signature.parameters if parameter.required]:
        schema["required"] = required
    with _placed(signature, None):
        return {input: schema, output: _output(signature.result), **choices}


@contextmanager
def _placed(signature: Signature, parameter: str | None) -> Generator[None]:
    """Says of an error within where in the predictor's file it is. Without a parameter: the output's."""
    try:
        yield
    except Untellable as error:
        what = "the output" if parameter is None else f"parameter {parameter}"
        raise Unusable(f"{what}: {error}", _place(signature, parameter)) from error


def _place(signature: Signature, parameter: str | None) -> Place | None:
    if signature.function is None:
        return None
    return of_result(signature.function) if parameter is None else of_parameter(signature.function, parameter)


def _free(name: str, taken: set[str]) -> str:
    """A component's name. Cog takes the parameter's, also where it is another's already."""
    while name in taken:
        name += "_choices"
    return name


def _property(parameter: Parameter, order: int) -> Schema:
    if parameter.field.accept and not has_file(parameter.type):
        raise Untellable("accept is for Path and File only; take it away, or make the type Path")
    told = of_input(parameter.type)
    if parameter.optional and is_union(parameter.type):
        told = {"anyOf": [{**variant, "nullable": True} for variant in told["anyOf"]]}
    return {"title": title(parameter.name), **told, "x-order": order, **_said(parameter), **_limits(parameter)}


def _choice(parameter: Parameter) -> Schema:
    choices = parameter.field.choices
    kinds = {cast("type[Any]", type(choice)) for choice in choices or ()}
    told = of_input(kinds.pop()) if len(kinds) == 1 else {}
    return {"title": parameter.name, "description": "An enumeration.", "enum": choices, **told}


def _chosen(parameter: Parameter, name: str, order: int) -> Schema:
    chosen: Schema = {"$ref": f"#/components/schemas/{name}"}
    if of_input(parameter.type).get("type") == "array":
        told = {"title": title(parameter.name), "type": "array", "items": chosen}
    else:
        told = {"allOf": [chosen]}
    return {**told, "x-order": order, **_said(parameter), **_limits(parameter)}


def _said(parameter: Parameter) -> Schema:
    field = parameter.field
    said: Schema = {}
    if field.default is not MISSING:
        said["default"] = json_of(field.default)
    if parameter.optional:
        said["nullable"] = True
    if field.description is not None:
        said["description"] = field.description
    if field.deprecated:
        said["deprecated"] = True
    return said


def _limits(parameter: Parameter) -> Schema:
    limits = {word: getattr(parameter.field, name) for name, word in _LIMITS.items()}
    return {word: value for word, value in limits.items() if value is not None}


def _output(result: Result) -> Schema:
    if result.optional:
        raise Untellable("an Optional return is not possible: a prediction that succeeds has an output, or raises")
    told = of_output(result.type)
    if result.many:
        told = {"type": "array", "items": told, "x-cog-array-type": "iterator"}
    if result.concatenated:
        told["x-cog-array-display"] = "concatenate"
    return {"title": "Output", **told}
