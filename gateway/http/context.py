"""The context of a request: who makes it, from where, and how its response is written."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from litestar import Response

from gateway.auth import sessions
from gateway.errors import Forbidden
from gateway.http import asgi, bodies
from gateway.http.asgi import AnyRequest, get_services, header, json_response
from gateway.store.accounts import Account, Scope
from gateway.store.pages import Cursor, RowPage
from gateway.views.resources import Page, Views

T = TypeVar("T")


async def authenticate(request: AnyRequest, required: Scope | None = None, *, create: bool = False) -> Account:
    """Return the account that makes the request, by its token or by the session of a browser.

    `required` is the scope that the token needs; any token may read. With `create` the request counts as one that
    makes a prediction or training. Routes call this first, before they read the body: refusals come in this order.
    Raises `NoToken` or `BadToken`; `Throttled`; `Forbidden` for a token that lacks that scope.
    """
    account = await _authenticate(request)
    remaining = await get_services(request).access.rate_limiter.take(account, create=create)
    if remaining is not None:
        request.scope["state"]["rate_limit"] = remaining  # the middleware adds it to the headers of any response
    if required is not None and required not in account.scopes:
        raise Forbidden(f"This token lacks the scope {required}. `samovar tokens create` makes one that has it.")
    return account


def request_source(request: AnyRequest) -> str:
    """Return the source of what this request creates: `api`, or `web` for our own pages."""
    return "api" if header(request, b"authorization") else "web"


def require_same_origin(request: AnyRequest) -> None:
    """Raise `NoToken` for a request that a page of another origin may have caused.

    X-Forwarded-Host does not count: a page may send it. Behind a proxy that rewrites Host, `public_url` is our origin.
    """
    requested = f"{url_scheme(request)}://{header(request, b'host')}"
    public = urlsplit(get_services(request).settings.public_url or requested)
    own_origins = frozenset({requested, f"{public.scheme}://{public.netloc}"})
    origin, site = header(request, b"origin"), header(request, b"sec-fetch-site")
    sessions.require_same_origin(request.scope["method"], origin, site, own_origins)


def url_scheme(request: AnyRequest) -> str:
    """Return http or https, as the client sees it."""
    return (header(request, b"x-forwarded-proto") or request.scope["scheme"]).partition(",")[0].strip()


def build_views(request: AnyRequest) -> Views:
    """Return the views of resources as this client sees them: with URLs below the base that it uses itself."""
    services = get_services(request)
    base_url = services.settings.public_url or _requested_base_url(request)
    return Views(base_url, services.access.capabilities, services.runners.fleet.waiting_reason)


def own_base_urls(request: AnyRequest) -> tuple[str, ...]:
    """Return the bases of URLs that lead to this gateway."""
    public = get_services(request).settings.public_url
    return (public, _requested_base_url(request)) if public else (_requested_base_url(request),)


def page_cursor(request: AnyRequest) -> Cursor | None:
    """Return the cursor of the page that the client asks for. Raises `BadRequest`."""
    return Cursor.parse(request.query_params.get("cursor"))


def page_response(
    request: AnyRequest,
    page: RowPage[Any],
    results: list[Any],
    *,
    path: str | None = None,
    query: Mapping[str, str] | None = None,
) -> Response[bytes]:
    """Answer with a page of a list, and links to the pages beside it.

    The links lead to `path`, or to where this request went, with its query and the given one.
    """
    target = path or request.scope["path"], query or {}
    return json_response(
        Page(
            next=_page_url(request, page.next, *target),
            previous=_page_url(request, page.previous, *target),
            results=results,
        )
    )


async def read_json(request: AnyRequest, kind: type[T]) -> T:
    """Read and decode a JSON body. Raises what `bodies.decode_json` raises, and `BodyTooLarge`."""
    content = await asgi.read_body(request)
    return bodies.decode_json(
        content, header(request, b"content-type") or "", get_services(request).settings.max_depth, kind
    )


def _page_url(request: AnyRequest, cursor: Cursor | None, path: str, more: Mapping[str, str]) -> str | None:
    """Return the URL of another page of this list; None for no page."""
    if cursor is None:
        return None
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return f"{build_views(request).base}{path}?{urlencode({**query, **more, 'cursor': cursor.token()})}"


def _requested_base_url(request: AnyRequest) -> str:
    """Return the base URL that the client itself used, also behind a proxy."""
    host = header(request, b"x-forwarded-host") or header(request, b"host") or "localhost"
    return f"{url_scheme(request)}://{host.partition(',')[0].strip()}"


async def _authenticate(request: AnyRequest) -> Account:
    authorization = header(request, b"authorization")
    session = None if authorization else sessions.find_cookie(header(request, b"cookie"))
    if session is None:
        return await get_services(request).access.authenticator.authenticate(authorization)
    require_same_origin(request)
    return await get_services(request).access.sessions.authenticate(session)
