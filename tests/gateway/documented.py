"""Answers against the OpenAPI document: whatever a test sees of the API has to stand there."""

import re
from functools import cache
from typing import Any

import httpx

from gateway.app import create_app
from gateway.settings import Settings


async def check(answer: httpx.Response) -> None:
    """For httpx's event hooks. Fails for a status or a content type that is not in the document."""
    found = operation(answer.request.method, answer.request.url.path)
    if found is None or answer.status_code == 405:
        return  # no operation, and so nothing that the document could say of it
    where = f"{found['operationId']} answered {answer.status_code}"
    said = found["responses"].get(str(answer.status_code))
    assert said is not None, f"{where}, which is not in the document"
    if "content" not in said:
        return
    kind = answer.headers.get("content-type", "").partition(";")[0]
    kinds = [each.partition(";")[0] for each in said["content"]]
    assert kind in kinds or "*/*" in kinds, f"{where} as {kind!r}, and the document says {kinds}"


def operation(method: str, path: str) -> dict[str, Any] | None:
    for pattern, item in _paths():
        if pattern.fullmatch(path) and method.lower() in item:
            return item[method.lower()]
    return None


def document() -> dict[str, Any]:
    app = create_app(Settings(database_url="postgresql://nowhere"), lambda: None)
    return app.openapi_schema.to_schema()


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Those without parameters first, as routes are found."""
    paths = sorted(document()["paths"].items(), key=lambda item: (item[0].count("{"), item[0]))
    return [(re.compile(_pattern(path)), item) for path, item in paths]


def _pattern(path: str) -> str:
    return re.sub(r"\\{path\\}", ".+", re.sub(r"\\{(?!path)[a-z_]+\\}", "[^/]+", re.escape(path)))
