"""Requests, responses and services at the level of ASGI, where the busiest routes go around litestar.

What litestar does for a request counts where it is called most: creating, getting and streaming predictions. Each of
these saves a step of it:

- `get_services`: a service that a route takes by name costs a call through a validated signature; two or more cost a
  task group, with a task each. All other routes do take theirs by name: see `dependencies`.
- `header` and `read_body`: litestar's own ways make a mapping of all headers first.
- `JsonResponse`: a JSON text needs none of the steps by which litestar makes a response of an object.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import json

from gateway.errors import BadRequest, BodyTooLarge
from gateway.services import Services

AnyRequest = Request[Any, Any, Any]


def get_services(request: AnyRequest) -> Services:
    """Return the services of the gateway; they are looked up once for each request."""
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]  as ASGI allows, it keeps what is ours
    if "services" not in scope:
        scope["services"] = scope["litestar_app"].state.services
    return scope["services"]


def header(request: AnyRequest, name: bytes) -> str | None:
    """Return a header by its lower-case name; the first, if there are several."""
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]
    fields: dict[bytes, bytes] | None = scope.get("fields")
    if fields is None:
        fields = scope["fields"] = dict(reversed(scope["headers"]))
    value = fields.get(name)
    return value.decode("latin-1") if value is not None else None


async def read_body(request: AnyRequest) -> bytes:
    """Return the request's body, and the same again at a second call.

    litestar's own way to it makes a mapping of all headers first. Raises `BodyTooLarge`, or `BadRequest` if the client
    left.
    """
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]
    if "content" not in scope:
        scope["content"] = await _receive_body(request, get_services(request).settings.max_body)
    return scope["content"]


async def _receive_body(request: AnyRequest, limit: int) -> bytes:
    content_length = header(request, b"content-length") or ""
    if content_length.isdecimal() and int(content_length) > limit:
        raise BodyTooLarge
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection ended before the body did.")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLarge
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Answer with `content` as JSON."""
    return JsonResponse(json.encode(content), status, headers or {})


class JsonResponse(Response[bytes]):
    """A JSON text, sent as it is, without the steps by which litestar makes one of an object."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(content, status_code=status, media_type="application/json")
        self._fields = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the function that sends the response."""
        return self._send

    async def _send(self, _: Scope, __: Receive, send: Send) -> None:
        fields = [(name.lower().encode(), value.encode()) for name, value in self._fields.items()]
        size = str(len(self.content)).encode()
        headers: Any = [(b"content-type", b"application/json"), (b"content-length", size), *fields]
        await send({"type": "http.response.start", "status": self.status_code or 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.content, "more_body": False})
