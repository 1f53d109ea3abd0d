"""JSON schemas of requests and answers, derived from the structs that the gateway reads and writes."""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from inspect import cleandoc, getsource
from itertools import pairwise
from typing import Any, Final, get_args

from msgspec import Struct, json, structs

REFERENCE: Final = "#/components/schemas/{name}"
NULL: Final = {"type": "null"}


def request_schema(
    kind: Any,
    *,
    options: type[Struct] | None = None,
    required: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the schema of a body, with nested structs in line.

    `options` is a struct whose fields the body may have as well. `required` names fields that the struct does not
    require, because the gateway has an error of its own for their absence. Fields in `hidden` and deprecated ones
    are left out.
    """
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return json.schema(kind)
    properties = {**_properties(kind), **(_properties(options) if options else {})}
    visible = {name: schema for name, schema in properties.items() if name not in hidden and "deprecated" not in schema}
    needed = {field.encode_name for field in structs.fields(kind) if field.required} | set(required)
    schema = {"type": "object", "properties": visible, "required": [name for name in visible if name in needed]}
    return {**schema, "additionalProperties": False} if kind.__struct_config__.forbid_unknown_fields else schema


def answer_schemas(kinds: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of each type of an answer, and the components that they refer to."""
    schemas, components = json.schema_components(kinds, ref_template=REFERENCE)
    for kind in set(_nested(kinds)):
        properties: dict[str, Any] = components[kind.__name__]["properties"]
        for name, text in field_docs(kind).items():
            properties[name] = _described(properties[name], text)
    return list(schemas), components


def page_schema(page: type[Struct], item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page whose results are of the schema `item`."""
    schema = request_schema(page)
    schema["properties"]["results"]["items"] = item
    return schema


def field_docs(kind: type[Struct]) -> dict[str, str]:
    """Return the strings below the fields of a struct and of its bases, by field."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, Struct) and base is not Struct:
            docs |= _docs_by_class(base.__module__).get(base.__name__, {})
    return docs


@cache
def _docs_by_class(module: str) -> dict[str, dict[str, str]]:
    """Return the field docs of a module's classes; parsing it takes milliseconds, so each module is parsed once."""
    tree = ast.parse(getsource(sys.modules[module]))
    return {node.name: dict(_docs_in(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_in(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, text_below in pairwise(definition.body):
        match statement, text_below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, cleandoc(text)
            case _:
                pass


def _properties(kind: type[Struct]) -> dict[str, dict[str, Any]]:
    docs = field_docs(kind)
    properties: dict[str, dict[str, Any]] = {}
    for field in structs.fields(kind):
        schema = json.schema(field.type)
        if field.default is None:
            schema["default"] = None
        properties[field.encode_name] = _described(_inline(schema, schema.get("$defs", {})), docs.get(field.name))
    return properties


def _described(schema: dict[str, Any], text: str | None) -> dict[str, Any]:
    return {**schema, "description": text} if text else schema


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return the schema with what it refers to, and in the terms that clients of the API know."""
    match schema:
        case list():
            return [_inline(each, definitions) for each in schema]  # pyright: ignore[reportUnknownVariableType]
        case {"$ref": str(reference)}:
            definition = definitions[reference.rpartition("/")[2]]
            return _inline({name: value for name, value in definition.items() if name != "title"}, definitions)
        case dict():
            return _plain({name: _inline(value, definitions) for name, value in schema.items() if name != "$defs"})  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return schema


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(pattern := schema.get("pattern"), str):
        schema["pattern"] = pattern.replace(r"\Z", "$")  # the end of a text, as JavaScript writes it
    if isinstance(schema.get("enum"), list):
        schema["type"] = "string"
    if "anyOf" not in schema or NULL not in schema["anyOf"]:
        return schema
    variants = [variant for variant in schema["anyOf"] if variant != NULL]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    if "default" in schema:  # null says the same as leaving the field out
        return rest | (variants[0] if len(variants) == 1 else {"anyOf": variants})
    if len(variants) == 1 and isinstance(variants[0].get("type"), str):
        return rest | variants[0] | {"type": [variants[0]["type"], "null"]}
    return schema


def _nested(kinds: Iterable[Any]) -> Iterator[type[Struct]]:
    """Yield the structs in types, and the structs in their fields."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Struct):
            yield kind
            yield from _nested(field.type for field in structs.fields(kind))
        yield from _nested(get_args(kind))
