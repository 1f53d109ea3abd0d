"""The OpenAPI document: litestar's own, completed from the specs and the docstrings of the routes."""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI, OpenAPIMediaType, PathItem, RequestBody
from msgspec import Struct

from gateway.openapi.operations import OperationSpec, SpecifiedOperation
from gateway.openapi.responses import create_responses
from gateway.openapi.schemas import answer_schemas, request_schema
from schemas.problem import Problem

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SENTENCE_END: Final = re.compile(r"\.(?:\s+|$)")


class LazyOpenAPIConfig(OpenAPIConfig):
    """The config of a document that is completed when it is first read.

    It takes 12 MB, and most gateways are never asked for it.
    """

    def to_openapi_schema(self) -> "LazyDocument":
        """Return the document, which completes itself when it is read."""
        document = super().to_openapi_schema()
        return LazyDocument(**{each.name: getattr(document, each.name) for each in fields(document)})


class LazyDocument(OpenAPI):
    """A document that completes itself when it is read."""

    _is_complete = False

    def to_schema(self) -> dict[str, Any]:
        """Return the document as plain values, completed the first time."""
        if not self._is_complete:
            complete(self)
            self._is_complete = True
        return super().to_schema()


class OperationEntry(Struct, frozen=True, kw_only=True):
    """An operation and where it stands in the document."""

    path: str
    method: str
    operation: SpecifiedOperation

    @property
    def spec(self) -> OperationSpec:
        """The spec that the operation's route declares."""
        return self.operation.spec


def complete(document: OpenAPI) -> None:
    """Add to the document what the specs and docstrings of its operations say.

    Raises `TypeError` for an operation whose route has no spec.
    """
    entries = list(_entries(document))
    schemas, components = answer_schemas([*(entry.spec.answer for entry in entries), Problem])
    for entry, schema in zip(entries, schemas, strict=False):
        _complete_operation(entry, schema)
    assert document.components is not None
    document.components.schemas = {**(document.components.schemas or {}), **components}


def split_summary(text: str) -> tuple[str, str | None]:
    """Return the first sentence of a docstring without its full stop, and what follows it."""
    end = SENTENCE_END.search(text)
    if end is None:
        return " ".join(text.split()), None
    return " ".join(text[: end.start()].split()), text[end.end() :] or None


def _entries(document: OpenAPI) -> Iterator[OperationEntry]:
    for path, item in (document.paths or {}).items():
        assert isinstance(item, PathItem)
        for method in METHODS:
            operation = getattr(item, method)
            if isinstance(operation, SpecifiedOperation):
                yield OperationEntry(path=path, method=method, operation=operation)
            elif operation is not None:
                raise TypeError(f"{operation.operation_id}: its route has no operation_class that says what it answers")


def _complete_operation(entry: OperationEntry, schema: dict[str, Any]) -> None:
    operation, spec = entry.operation, entry.spec
    operation.summary, operation.description = split_summary(operation.description or "")
    operation.parameters = [*(operation.parameters or ()), *spec.parameters] or None
    operation.request_body = _request_body(spec)
    answer = None if spec.answer is None else schema
    operation.responses = create_responses(operation, spec, path=entry.path, method=entry.method, schema=answer)


def _request_body(spec: OperationSpec) -> RequestBody | None:
    if spec.body is None:
        return None
    schema: Any = request_schema(spec.body, options=spec.body_options, required=spec.required, hidden=spec.hidden)
    content = {spec.body_media: OpenAPIMediaType(schema=schema)}
    return RequestBody(content=content, required=spec.is_body_required)
