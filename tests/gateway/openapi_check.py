"""Checks of responses against the OpenAPI document: whatever a test sees of the API must be in it."""

import re
from functools import cache
from typing import Any

import httpx
from litestar.openapi.spec import OpenAPI

from gateway.app import create_app
from gateway.settings import Settings


async def check(answer: httpx.Response) -> None:
    """Fail for a status or a content type that is not in the document; for httpx's event hooks."""
    described = operation(answer.request.method, answer.request.url.path)
    if described is None or answer.status_code == 405:
        return  # no operation, and so nothing that the document could say of it
    where = f"{described['operationId']} answered {answer.status_code}"
    response = described["responses"].get(str(answer.status_code))
    assert response is not None, f"{where}, which is not in the document"
    if "content" not in response:
        return
    kind = answer.headers.get("content-type", "").partition(";")[0]
    kinds = [each.partition(";")[0] for each in response["content"]]
    assert kind in kinds or "*/*" in kinds, f"{where} as {kind!r}, and the document says {kinds}"


def operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation that a request calls, as the document describes it."""
    for pattern, item in _paths():
        if pattern.fullmatch(path) and method.lower() in item:
            return item[method.lower()]
    return None


def document() -> dict[str, Any]:
    """Return the document of a gateway."""
    return lazy_document().to_schema()


def lazy_document() -> OpenAPI:
    """Return the document of a gateway before it is completed."""
    return create_app(Settings(database_url="postgresql://nowhere"), lambda: None).openapi_schema


def operations() -> list[dict[str, Any]]:
    """Return the operations of all paths."""
    return [operation for item in document()["paths"].values() for operation in item.values()]


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Return the paths, those without parameters first, in the order in which routes are matched."""
    paths = sorted(document()["paths"].items(), key=lambda item: (item[0].count("{"), item[0]))
    return [(re.compile(_pattern(path)), item) for path, item in paths]


def _pattern(path: str) -> str:
    return re.sub(r"\\{path\\}", ".+", re.sub(r"\\{(?!path)[a-z_]+\\}", "[^/]+", re.escape(path)))
