"""One request: who calls, and how what they get back is written."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import json

from gateway.auth import sessions
from gateway.errors import BadRequest, BodyTooLarge, Forbidden
from gateway.http import bodies
from gateway.services import Parts
from gateway.store.accounts import Account, Right
from gateway.store.pages import Cursor, Listed
from gateway.views.resources import Page, Views

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


def parts(request: AnyRequest) -> Parts:
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]  as ASGI allows, it keeps what is ours
    if "parts" not in scope:
        scope["parts"] = scope["litestar_app"].state.parts
    return scope["parts"]


def header(request: AnyRequest, name: bytes) -> str | None:
    """By its lower-case name; the first, if there are more."""
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]
    fields: dict[bytes, bytes] | None = scope.get("fields")
    if fields is None:
        fields = scope["fields"] = dict(reversed(scope["headers"]))
    value = fields.get(name)
    return value.decode("latin-1") if value is not None else None


async def caller(request: AnyRequest, right: Right | None = None, *, create: bool = False) -> Account:
    """By token, or by the session of a browser. To read, any token will do.

    With `create` the call counts as one that makes a prediction or training.
    Raises `NoToken` or `BadToken`; `Throttled`; `Forbidden` for a token that lacks the right.
    """
    account = await _account(request)
    left = await parts(request).limiter.take(account, create=create)
    if left is not None:
        request.scope["state"]["left"] = left  # said in the headers of whatever is answered, by the edge
    if right is not None and right not in account.scopes:
        raise Forbidden(f"This token lacks the scope {right}. `samovar tokens create` makes one that has it.")
    return account


def source(request: AnyRequest) -> str:
    """How what this request makes came in: from our own pages, or not."""
    return "api" if header(request, b"authorization") else "web"


def same_origin(request: AnyRequest) -> None:
    """Raises `NoToken` for a request that a page of another origin may have caused.

    X-Forwarded-Host is not asked: a page may send it. Behind a proxy that rewrites Host, `public_url` says our origin.
    """
    called = f"{scheme(request)}://{header(request, b'host')}"
    public = urlsplit(parts(request).settings.public_url or called)
    homes = frozenset({called, f"{public.scheme}://{public.netloc}"})
    origin, site = header(request, b"origin"), header(request, b"sec-fetch-site")
    sessions.same_origin(request.scope["method"], origin, site, homes)


def scheme(request: AnyRequest) -> str:
    """http or https, as the client sees it."""
    return (header(request, b"x-forwarded-proto") or request.scope["scheme"]).partition(",")[0].strip()


def views(request: AnyRequest) -> Views:
    here = parts(request)
    return Views(here.settings.public_url or _called(request), here.capabilities, here.fleet.reason)


def bases(request: AnyRequest) -> tuple[str, ...]:
    """Of URLs that lead here."""
    public = parts(request).settings.public_url
    return (public, _called(request)) if public else (_called(request),)


def cursor(request: AnyRequest) -> Cursor | None:
    """Where the page begins that is asked for. Raises `BadRequest`."""
    return Cursor.parse(request.query_params.get("cursor"))


def paged(
    request: AnyRequest,
    found: Listed[Any],
    results: list[Any],
    *,
    path: str | None = None,
    query: Mapping[str, str] | None = None,
) -> Response[bytes]:
    """A page of a list, as clients see its rows, with links to those beside it.

    The links lead to `path`, with `query` beside what was asked with.
    """
    to = path or request.scope["path"], query or {}
    return answer(
        Page(next=_link(request, found.next, *to), previous=_link(request, found.previous, *to), results=results)
    )


async def read(request: AnyRequest, kind: type[T]) -> T:
    """A JSON body. Raises like `validation.decoded`, and `BodyTooLarge`."""
    content = await body(request)
    return bodies.decoded(content, header(request, b"content-type") or "", parts(request).settings.max_depth, kind)


async def body(request: AnyRequest) -> bytes:
    """All of it, and the same when it is asked for again. Raises `BodyTooLarge`, or `BadRequest` if the client left.

    The framework's own way to it makes a mapping of all headers first.
    """
    scope: dict[str, Any] = request.scope  # pyright: ignore[reportAssignmentType]
    if "content" not in scope:
        scope["content"] = await _received(request, parts(request).settings.max_body)
    return scope["content"]


async def _received(request: AnyRequest, most: int) -> bytes:
    announced = header(request, b"content-length") or ""
    if announced.isdecimal() and int(announced) > most:
        raise BodyTooLarge
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection ended before the body did.")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise BodyTooLarge
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Answer(json.encode(content), status, headers or {})


class Answer(Response[bytes]):
    """A JSON text, sent as it is: nothing of what litestar does to make one of an object is needed."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(content, status_code=status, media_type="application/json")
        self._fields = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._send

    async def _send(self, _: Scope, __: Receive, send: Send) -> None:
        fields = [(name.lower().encode(), value.encode()) for name, value in self._fields.items()]
        size = str(len(self.content)).encode()
        given: Any = [(b"content-type", b"application/json"), (b"content-length", size), *fields]
        await send({"type": "http.response.start", "status": self.status_code or 200, "headers": given})
        await send({"type": "http.response.body", "body": self.content, "more_body": False})


def _link(request: AnyRequest, cursor: Cursor | None, path: str, more: Mapping[str, str]) -> str | None:
    """This page's URL, with another cursor; None for no page."""
    if cursor is None:
        return None
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return f"{views(request).base}{path}?{urlencode({**query, **more, 'cursor': cursor.token()})}"


def _called(request: AnyRequest) -> str:
    """The base that the client itself used, also behind a proxy."""
    host = header(request, b"x-forwarded-host") or header(request, b"host") or "localhost"
    return f"{scheme(request)}://{host.partition(',')[0].strip()}"


async def _account(request: AnyRequest) -> Account:
    authorization = header(request, b"authorization")
    session = None if authorization else sessions.shown(header(request, b"cookie"))
    if session is None:
        return await parts(request).auth.account(authorization)
    same_origin(request)
    return await parts(request).sessions.account(session)
