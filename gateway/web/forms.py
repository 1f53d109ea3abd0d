"""A form built from a version's Input schema, with a field for each input."""

import math
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, json

VARIANTS: Final = "anyOf", "oneOf"
NULL: Final = {"type": "null"}
SIMPLE: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}

Schema = Mapping[str, Any]


class Field(Struct, frozen=True, kw_only=True):
    """One input in a form: what a page needs to show it, and to read it back."""

    name: str
    title: str
    kind: str
    """text, integer, number, boolean, choice, file, secret, json; or list, of which each line is an `item`."""
    item: str = ""
    description: str = ""
    required: bool = False
    nullable: bool = False
    deprecated: bool = False
    default: str | None = None
    """The text in the field at first."""
    checked: bool = False
    choices: tuple[str, ...] = ()
    """JSON texts."""
    minimum: float | None = None
    maximum: float | None = None
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None

    @property
    def hint(self) -> str:
        """A line of text that describes the input and its limits."""
        lines = "one per line" if self.kind == "list" else ""
        notation = "JSON" if "json" in {self.kind, self.item} else ""
        old = "deprecated" if self.deprecated else ""
        parts = self.description, self._range(), self._length(), lines, notation, old
        return " · ".join(part for part in parts if part)

    def label(self, choice: str) -> str:
        """Return a choice as a person reads it."""
        value = json.decode(choice)
        return value if isinstance(value, str) and value else choice

    def _range(self) -> str:
        low, high = _number(self.minimum), _number(self.maximum)
        if low and high:
            return f"{low} to {high}"
        return f"at least {low}" if low else f"at most {high}" if high else ""

    def _length(self) -> str:
        if self.shortest and self.longest:
            return f"{self.shortest} to {self.longest:,} characters"
        if self.shortest:
            return f"at least {self.shortest} character{'s' if self.shortest > 1 else ''}"
        return f"at most {self.longest:,} characters" if self.longest else ""


class Form(Struct, frozen=True, kw_only=True):
    """The form for a version's inputs, and how its output is shown."""

    fields: tuple[Field, ...]
    shows: str
    """The kind of output, as far as the schema tells: text, files or json."""
    joined: bool
    """Whether pieces of text follow one another without a break."""


def form(document: Schema, values: Mapping[str, Any] | None = None) -> Form:
    """Return the form of a version, with its fields in the order that the predictor's author chose.

    `values` fills it in; without them, the defaults do.
    """
    schemas = _mapping(_mapping(document.get("components")).get("schemas"))
    schema = _mapping(schemas.get("Input"))
    properties = _mapping(schema.get("properties"))
    required = frozenset(schema.get("required", ()))
    ordered = sorted(properties.items(), key=lambda pair: _order(_mapping(pair[1])))
    output = _resolved(_mapping(schemas.get("Output")), schemas)
    shows, joined = _shows(output, schemas)
    fields = tuple(_field(name, _mapping(rule), name in required, schemas, values) for name, rule in ordered)
    return Form(fields=fields, shows=shows, joined=joined)


def _field(name: str, rule: Schema, required: bool, schemas: Schema, values: Mapping[str, Any] | None) -> Field:
    plain, nullable = _plain(rule, schemas)
    kind, item = _kind(plain, schemas)
    value = rule.get("default", plain.get("default")) if values is None else values.get(name)
    if kind == "boolean" and (nullable or (required is False and value is None)):
        choices: Schema = {**plain, "enum": [True, False]}
        kind, plain = "choice", choices
    return Field(
        name=name,
        title=_title(name, rule, plain),
        kind=kind,
        item=item,
        description=str(rule.get("description") or ""),
        required=required,
        nullable=nullable,
        deprecated=bool(rule.get("deprecated")),
        default=None if value is None or "secret" in {kind, item} else _text(value, kind, item),
        checked=value is True,
        choices=tuple(json.encode(choice).decode() for choice in plain.get("enum", ()) if choice is not None),
        minimum=_limit(plain.get("minimum")),
        maximum=_limit(plain.get("maximum")),
        shortest=plain.get("minLength"),
        longest=plain.get("maxLength"),
        pattern=plain.get("pattern"),
    )


def _plain(rule: Schema, schemas: Schema) -> tuple[Schema, bool]:
    """Return the schema without references and without null, and whether it allowed null."""
    rule = _resolved(rule, schemas)
    nullable = bool(rule.get("nullable"))
    for name in VARIANTS:
        variants = [_resolved(_mapping(each), schemas) for each in rule.get(name, ())]
        others = [each for each in variants if each.get("type") != "null"]
        nullable = nullable or len(others) < len(variants)
        if len(others) == 1:
            rule = {**rule, **others[0]}
    kinds = rule.get("type")
    if isinstance(kinds, list):
        named: list[Any] = [kind for kind in kinds if kind != "null"]  # pyright: ignore[reportUnknownVariableType]
        nullable = nullable or "null" in kinds
        rule = {**rule, "type": named[0] if len(named) == 1 else None}
    return rule, nullable


def _resolved(rule: Schema, schemas: Schema) -> Schema:
    """Return the schema with what it refers to; what it says itself comes first."""
    for part in [rule, *map(_mapping, rule.get("allOf", ()))]:
        reference = part.get("$ref")
        target = _mapping(schemas.get(str(reference).rpartition("/")[2])) if reference else part
        rule = {**target, **rule}
    return rule


def _kind(rule: Schema, schemas: Schema) -> tuple[str, str]:
    if rule.get("enum"):
        return "choice", ""
    if rule.get("type") == "array":
        item, _ = _plain(_mapping(rule.get("items")), schemas)
        kind, _ = _kind(item, schemas)
        return ("list", "text" if kind == "choice" and item.get("type") == "string" else kind)
    if rule.get("x-cog-secret") or rule.get("format") == "password":
        return "secret", ""
    if rule.get("format") == "uri":
        return "file", ""
    return SIMPLE.get(str(rule.get("type")), "json"), ""


def _text(value: Any, kind: str, item: str) -> str:
    """Return a value as it stands in its field."""
    if kind == "list" and isinstance(value, list):
        each: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return "\n".join(one if isinstance(one, str) and item in {"text", "file"} else _json(one) for one in each)
    return value if isinstance(value, str) and kind in {"text", "file"} else _json(value)


def _json(value: Any) -> str:
    return json.encode(value).decode()


def _shows(output: Schema, schemas: Schema) -> tuple[str, bool]:
    many = output.get("type") == "array"
    item = _resolved(_mapping(output.get("items")), schemas) if many else output
    if item.get("format") == "uri":
        return "files", False
    return "text" if item.get("type") == "string" else "json", output.get("x-cog-array-display") == "concatenate"


def _title(name: str, rule: Schema, plain: Schema) -> str:
    """Return the title of an input.

    Cog makes titles of choices from the name of a class, which is the field's.
    """
    title = rule.get("title") or ("" if plain.get("enum") else plain.get("title"))
    return str(title or name.replace("_", " ").capitalize())


def _order(rule: Schema) -> float:
    order = _limit(rule.get("x-order"))
    return math.inf if order is None else order


def _limit(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _mapping(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
