"""The ASGI middleware around the application: one path for every base URL, and limits before anything is read."""

import time
from typing import Any, Final

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import json

from gateway.urls import canonical_path
from schemas.problem import Problem

OWN_HEAD_PATHS: Final = (
    "/v1/streams/",
    "/v1/runners/events",
    "/v1/predictions/events",
    "/v1/outputs/",
    "/-/predictions/",
    "/-/files/",
)
"""Paths whose HEAD is not GET without its body: a stream would not end soon, and files may be large."""
SEARCH_PATH: Final = "/v1/models/_query"
DOWNLOAD_SUFFIX: Final = "/download"
MAX_HEADER_BYTES: Final = 64_000  # bytes


class RequestNormalizer:
    """Brings requests into the one form that routes know, and refuses those that no route should see.

    The API is served at `/v1`, `/` and `/v1/v1`, because clients disagree on whether a base URL ends in `/v1`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ours: Any = scope
        ours["arrived"] = time.perf_counter()
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            await send_problem(send, 431, "Header fields too large", f"Headers may be {MAX_HEADER_BYTES} bytes in all.")
            return
        if "\0" in scope["path"]:  # no name has one, and PostgreSQL would refuse to look for it
            await send_problem(send, 404, "Not found", "The requested resource could not be found.")
            return
        path = canonical_path(scope["path"])
        if path != scope["path"]:
            scope["path"], scope["raw_path"] = path, path.encode()
        if scope["method"] == "HEAD" and not path.startswith(OWN_HEAD_PATHS) and not path.endswith(DOWNLOAD_SUFFIX):
            scope["method"] = "GET"  # type: ignore[typeddict-item]  # pyright: ignore[reportGeneralTypeIssues]
            send = drop_body(send)
        if scope["method"] == "QUERY" and path.rstrip("/") == "/v1/models":
            route_query_method(scope)
        await self._app(scope, receive, add_rate_limit_headers(scope, send))


def route_query_method(scope: HTTPScope) -> None:
    """Route a QUERY request, a method that litestar does not know; a mark tells it from a POST to the same path."""
    scope["method"], scope["path"], scope["raw_path"] = "POST", SEARCH_PATH, SEARCH_PATH.encode()
    scope["queried"] = True  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportGeneralTypeIssues]


def drop_body(send: Send) -> Send:
    """Return a `send` that answers HEAD: as GET, without the body."""

    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers


def add_rate_limit_headers(scope: Scope, send: Send) -> Send:
    """Return a `send` that adds what is left of the account's rate limit, if it has one."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start" and (rate_limit := scope.get("state", {}).get("rate_limit")):
            message = {**message, "headers": [*message["headers"], *rate_limit.headers()]}
        await send(message)

    return send_with_headers


async def send_problem(send: Send, status: int, title: str, detail: str) -> None:
    """Answer with a problem document."""
    content = json.encode(Problem(title=title, detail=detail, status=status))
    headers: Any = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
