"""The responses of an operation: how it succeeds, by its spec, and how it may refuse, by what kind it is."""

from typing import Any, Final

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Reference

from gateway.openapi.operations import JSON, OperationSpec
from gateway.openapi.schemas import REFERENCE, page_schema
from gateway.views.resources import Page
from schemas.problem import Problem

PROBLEM_MEDIA: Final = "application/problem+json"
REFUSALS: Final = {
    400: "The request is malformed.",
    401: "The token is missing or not valid.",
    403: "The token does not allow this, or the resource belongs to another account.",
    404: "The resource does not exist, or you cannot see it.",
    413: "The body is too large.",
    415: "The media type of the body is not supported here.",
    416: "The file does not have the requested range.",
    422: "The request is well-formed, but cannot be followed; `invalid_fields` names the fields at fault.",
    429: "There are too many requests; `Retry-After` says when to try again.",
    431: "The headers are too large.",
    499: "The client left before the answer was ready; nobody reads this.",
    500: "The model failed.",
    503: "A service that the gateway needs does not answer. Nothing was accepted.",
}
BODY_REFUSALS: Final = (400, 403, 413, 415, 422)
EMPTY_STATUSES: Final = (204, 304)


def create_responses(
    operation: Operation, spec: OperationSpec, *, path: str, method: str, schema: dict[str, Any] | None
) -> dict[str, OpenAPIResponse | Reference]:
    """Return the responses by status; `schema` is that of the spec's answer."""
    default = [int(status) for status in operation.responses or () if status < "300"]
    statuses = [*default, *spec.also]
    refusals = refusal_statuses(operation, spec, path=path, method=method) - set(statuses)
    return {
        **{str(status): _success(status, spec, schema) for status in statuses},
        **{str(status): _refusal(status, spec) for status in sorted(refusals)},
    }


def refusal_statuses(operation: Operation, spec: OperationSpec, *, path: str, method: str) -> set[int]:
    """Return the statuses with which an operation may refuse a request."""
    statuses = {431, 503, *spec.refuses}
    if operation.security != [{}]:
        statuses |= {401, 429}
    if operation.request_body is not None:
        statuses.update(BODY_REFUSALS)
    if method not in {"get", "head"}:
        statuses.add(403)
    if "{" in path:
        statuses |= {400, 404}
    if operation.parameters:
        statuses.add(400)
    return statuses


def _success(status: int, spec: OperationSpec, schema: dict[str, Any] | None) -> OpenAPIResponse:
    media = spec.media or (JSON if schema is not None else ())
    if status in EMPTY_STATUSES or not media:
        return OpenAPIResponse(description="The request succeeded; the response has no body.")
    content = {each: OpenAPIMediaType(schema=_content_schema(each, spec, schema)) for each in media}
    return OpenAPIResponse(description="The request succeeded.", content=content)


def _content_schema(media: str, spec: OperationSpec, schema: dict[str, Any] | None) -> Any:
    if media.startswith("text/"):
        return {"type": "string"}
    if schema is None:
        return {"type": "string", "format": "binary"}
    return page_schema(Page, schema) if spec.is_page else schema


def _refusal(status: int, spec: OperationSpec) -> OpenAPIResponse:
    problem = {"$ref": REFERENCE.format(name=Problem.__name__)}
    schema: Any = problem if spec.has_problems else {"type": "object", "required": ["error"]}
    media = PROBLEM_MEDIA if spec.has_problems or status == 431 else "application/json"
    return OpenAPIResponse(description=REFUSALS[status], content={media: OpenAPIMediaType(schema=schema)})
