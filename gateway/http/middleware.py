"""The outermost layer: one address for every base URL that clients use, and limits before anything is read."""

import time
from typing import Any, Final

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import json

from gateway.urls import canonical
from schemas.problem import Problem

HEADS: Final = (
    "/v1/streams/",
    "/v1/runners/events",
    "/v1/predictions/events",
    "/v1/outputs/",
    "/-/predictions/",
    "/-/files/",
)
"""Where HEAD is not GET without its body: a stream would not end soon, and files may be large."""
SEARCH: Final = "/v1/models/_query"
DOWNLOAD: Final = "/download"
MAX_HEADERS: Final = 64_000  # bytes


class Edge:
    """The API answers at `/v1`, `/` and `/v1/v1`, because clients disagree on whether a base URL ends in `/v1`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ours: Any = scope
        ours["arrived"] = time.perf_counter()
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            await refuse(send, 431, "Header fields too large", f"Headers may be {MAX_HEADERS} bytes in all.")
            return
        if "\0" in scope["path"]:  # no name has one, and PostgreSQL would refuse to look for it
            await refuse(send, 404, "Not found", "The requested resource could not be found.")
            return
        path = canonical(scope["path"])
        if path != scope["path"]:
            scope["path"], scope["raw_path"] = path, path.encode()
        if scope["method"] == "HEAD" and not path.startswith(HEADS) and not path.endswith(DOWNLOAD):
            scope["method"] = "GET"  # type: ignore[typeddict-item]  # pyright: ignore[reportGeneralTypeIssues]
            send = bodiless(send)
        if scope["method"] == "QUERY" and path.rstrip("/") == "/v1/models":
            search(scope)
        await self._app(scope, receive, counted(scope, send))


def search(scope: HTTPScope) -> None:
    """A method that routes do not know. What is added tells it from a POST to the same path."""
    scope["method"], scope["path"], scope["raw_path"] = "POST", SEARCH, SEARCH.encode()
    scope["queried"] = True  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportGeneralTypeIssues]


def bodiless(send: Send) -> Send:
    """The answer to a HEAD request: that of GET, without its body."""

    async def only_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return only_headers


def counted(scope: Scope, send: Send) -> Send:
    """Whatever is answered says what is left of the minute's allowance, when there is a limit."""

    async def with_what_is_left(message: Message) -> None:
        if message["type"] == "http.response.start" and (left := scope.get("state", {}).get("left")):
            message = {**message, "headers": [*message["headers"], *left.headers()]}
        await send(message)

    return with_what_is_left


async def refuse(send: Send, status: int, title: str, detail: str) -> None:
    content = json.encode(Problem(title=title, detail=detail, status=status))
    headers: Any = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
