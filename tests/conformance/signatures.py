"""What both know of a predictor's inputs: the oracle by its inspector, ours by the schema document.

`cog build`'s generator of documents is not in the package; its inspector is, and knows names, types and limits.
"""

import subprocess
from pathlib import Path
from typing import Any, Final

from msgspec import json

INSPECT: Final = """
import contextlib, json, sys
sys.path.insert(0, ".")
from cog import _inspector
with contextlib.redirect_stdout(sys.stderr):
    found = _inspector.create_predictor("predict", sys.argv[1])
optional = lambda field: field.type.repetition.name.startswith("OPTIONAL")
print(json.dumps({
    name: {
        "type": field.type.json_type(),
        "order": field.order,
        "nullable": optional(field),
        "required": field.default is None and not optional(field),
        "default": field.default,
        "description": field.description,
        "minimum": field.ge,
        "maximum": field.le,
        "minLength": field.min_length,
        "maxLength": field.max_length,
        "pattern": field.regex,
        "enum": field.choices,
        "deprecated": bool(field.deprecated),
    }
    for name, field in found.inputs.items()
}))
"""
_LIMITS: Final = ("default", "description", "minLength", "maxLength", "pattern")
_BOUNDS: Final = ("minimum", "maximum")
_TYPE: Final = ("type", "format", "items", "writeOnly", "x-cog-secret", "anyOf")


def inspect_inputs(python: Path, folder: Path, name: str) -> dict[str, Any]:
    """Return the inputs as the oracle knows them."""
    answer = subprocess.run(
        [str(python), "-c", INSPECT, name], cwd=folder, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if answer.returncode:
        raise ValueError(answer.stderr.decode().strip().splitlines()[-1])
    return json.decode(answer.stdout)


def read_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs as a schema document has them."""
    schemas = document["components"]["schemas"]
    required = schemas["Input"].get("required", [])
    return {
        name: _facts(_resolved(rule, schemas), required=name in required)
        for name, rule in schemas["Input"]["properties"].items()
    }


def _facts(rule: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {
        "type": {name: rule[name] for name in _TYPE if name in rule},
        "order": rule["x-order"],
        "nullable": rule.get("nullable", False),
        "required": required,
        **{name: rule.get(name) for name in _LIMITS},
        **{name: None if rule.get(name) is None else float(rule[name]) for name in _BOUNDS},
        "enum": rule.get("enum"),
        "deprecated": rule.get("deprecated", False),
    }


def _resolved(rule: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """With what a choice's component says in the place of its reference; its description is a generator's."""
    if "allOf" not in rule:
        return rule
    component = schemas[rule["allOf"][0]["$ref"].rpartition("/")[2]]
    return {"type": component["type"], "enum": component["enum"], **rule}
