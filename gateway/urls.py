"""The paths of the API, and the one form that routes know."""

from typing import Final

API: Final = {
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


def canonical(path: str) -> str:
    """Where the API's routes are: under one `/v1`."""
    if path in {"/openapi.json", "/v1/openapi.json"}:
        return "/-/docs/openapi.json"
    if path.startswith("/v1/v1/"):
        return canonical(path.removeprefix("/v1"))
    first = path[1:].partition("/")[0]
    return "/v1" + path if first in API else path
