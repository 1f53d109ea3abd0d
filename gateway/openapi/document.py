"""The OpenAPI document, completed: what each operation answers, and how it refuses."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI, OpenAPIMediaType, OpenAPIResponse, Operation, PathItem
from msgspec import Struct, json

from gateway.openapi.responses import ANSWERS, Says
from schemas.problem import Problem

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
REF: Final = "#/components/schemas/{name}"
PROBLEM: Final = "application/problem+json"

REFUSALS: Final = {
    400: "The request could not be read.",
    401: "No token, or none that is valid.",
    403: "The token does not allow it, or it belongs to somebody else.",
    404: "There is no such thing, or not for you.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken here.",
    416: "The file has no such part.",
    422: "It was read, and cannot be followed; `invalid_fields` says which fields are wrong.",
    429: "Too much at once: `Retry-After` says when to come again.",
    431: "The headers are too large.",
    499: "The client left before its answer was there; nobody reads this.",
    500: "The model failed.",
    503: "Something that is needed does not answer. Nothing was accepted.",
}
WITH_BODY: Final = (400, 403, 413, 415, 422)


class Described(OpenAPIConfig):
    """Of a document that is made when it is first read: it takes 12 MB, and most gateways are never asked for it."""

    def to_openapi_schema(self) -> "Completed":
        begun = super().to_openapi_schema()
        return Completed(**{each.name: getattr(begun, each.name) for each in fields(begun)})


class Completed(OpenAPI):
    def to_schema(self) -> dict[str, Any]:
        complete(self)
        return super().to_schema()


class Place(Struct, frozen=True, kw_only=True):
    """An operation, where it stands in the document."""

    path: str
    method: str
    operation: Operation


def complete(document: OpenAPI) -> None:
    """Before it is read. Raises `KeyError` for an operation of which nothing is known."""
    found = list(places(document))
    schemas = _schemas(ANSWERS[place.operation.operation_id or ""] for place in found)
    for place in found:
        says = ANSWERS[place.operation.operation_id or ""]
        refused = {str(status): _refusal(status, says) for status in sorted(refusals(place, says))}
        place.operation.responses = _answers(says) | refused
    assert document.components is not None
    document.components.schemas = {**(document.components.schemas or {}), **schemas}  # type: ignore[typeddict-item]


def places(document: OpenAPI) -> Iterable[Place]:
    for path, item in (document.paths or {}).items():
        for method in METHODS:
            if (operation := getattr(item, method)) is not None:
                assert isinstance(item, PathItem)
                yield Place(path=path, method=method, operation=operation)


def refusals(place: Place, says: Says) -> set[int]:
    """Which statuses but those of success it may answer with."""
    operation = place.operation
    statuses = {431, 503, *says.refuses}
    if operation.security != [{}]:
        statuses |= {401, 429}
    if operation.request_body is not None:
        statuses.update(WITH_BODY)
    if place.method not in {"get", "head"}:
        statuses.add(403)
    if "{" in place.path:
        statuses |= {400, 404}
    if operation.parameters:
        statuses.add(400)
    return statuses - set(says.statuses)


def _answers(says: Says) -> dict[str, Any]:
    return {str(status): _answer(status, says) for status in says.statuses}


def _answer(status: int, says: Says) -> Any:
    if status in {204, 304} or says.empty:
        return OpenAPIResponse(description="Done; there is no body.")
    return OpenAPIResponse(
        description="It went well.",
        content={media: OpenAPIMediaType(schema=_schema(says, media)) for media in says.media},
    )


def _refusal(status: int, says: Says) -> Any:
    schema: Any = {"$ref": REF.format(name="Problem")} if says.problems else {"type": "object", "required": ["error"]}
    media = PROBLEM if says.problems or status == 431 else "application/json"
    return OpenAPIResponse(description=REFUSALS[status], content={media: OpenAPIMediaType(schema=schema)})


def _schema(says: Says, media: str) -> Any:
    if says.loose:
        return {"type": "object"} if media == "application/json" else {"type": "string"}
    if says.body is None:
        return {"type": "string"} if media.startswith("text/") else {"type": "string", "format": "binary"}
    item = {"$ref": REF.format(name=says.body.__name__)}
    if says.many == "page":
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": link, "previous": link, "results": {"type": "array", "items": item}}
        return {"type": "object", "properties": properties, "required": ["next", "previous", "results"]}
    return {"type": "array", "items": item} if says.many == "array" else item


def _schemas(said: Iterable[Says]) -> dict[str, Any]:
    kinds = {says.body for says in said if says.body is not None} | {Problem}
    _, components = json.schema_components(sorted(kinds, key=lambda kind: kind.__name__), ref_template=REF)
    return components
