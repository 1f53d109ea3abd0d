"""The paths of the API, and the one form of each that routes know."""

from typing import Annotated, Final

from msgspec import Meta

Url = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
"""A string that the OpenAPI document describes as a URL; msgspec itself takes any."""

API_ROOTS: Final = {
    "account",
    "accounts",
    "collections",
    "deployments",
    "files",
    "gc",
    "hardware",
    "models",
    "outputs",
    "predictions",
    "pushes",
    "runners",
    "search",
    "streams",
    "tokens",
    "trainings",
    "webhooks",
}


def canonical_path(path: str) -> str:
    """Return the path that routes know: under one `/v1`."""
    if path in {"/openapi.json", "/v1/openapi.json"}:
        return "/-/docs/openapi.json"
    if path.startswith("/v1/v1/"):
        return canonical_path(path.removeprefix("/v1"))
    first = path[1:].partition("/")[0]
    return "/v1" + path if first in API_ROOTS else path
