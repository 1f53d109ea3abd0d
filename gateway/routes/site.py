"""/: the page for people; and the sessions of the browsers that it is shown in."""

from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from litestar import Response, Router, delete, get, post
from litestar.datastructures import CacheControlHeader
from litestar.params import FromPath
from litestar.response import Stream
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from msgspec import json

from gateway.auth import sessions
from gateway.catalog.catalog import Version
from gateway.errors import BadRequest, BadToken, NotFound, NoToken, UnsupportedMedia
from gateway.http import context
from gateway.http.context import AnyRequest, caller, cursor, header, parts, same_origin, scheme, views
from gateway.routes.predictions import find
from gateway.routes.streams import followed
from gateway.store.accounts import Account
from gateway.store.models import Model
from gateway.web import pages
from gateway.web.forms import form
from gateway.web.pages import Card, Chosen

SHOWN: Final = 60  # models on one page
POLICY: Final = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@get("/", include_in_schema=False)
async def home(request: AnyRequest) -> Response[str]:
    """The catalogue; with `model=owner/name` a form to run it, with `prediction=id` what came of one."""
    query = request.query_params
    if from_elsewhere(request):
        return _page(pages.again())
    try:
        account = await caller(request)
    except NoToken:
        return _page(pages.signin(refused="refused" in query, model=query.get("model", "")))
    if not (asked := query.get("model")):
        return await _catalogue(request, account, None)
    try:
        return _page(pages.model(account, views(request).base, await _chosen(request, account, asked)))
    except NotFound:
        return await _catalogue(request, account, asked, 404)


@post("/-/session", include_in_schema=False, status_code=303)
async def sign_in(request: AnyRequest) -> Response[None]:
    """By the form of the page, with a token."""
    same_origin(request)
    fields = await _posted(request)
    model = {"model": fields["model"]} if fields.get("model") else {}
    here = parts(request)
    try:
        account = await here.auth.account(f"Bearer {fields.get('token', '').strip()}")
    except BadToken:
        return _back({"refused": "", **model}, {})
    value = here.sessions.begin(account)
    return _back(model, {"Set-Cookie": sessions.cookie(value, secure=scheme(request) == "https")})


@delete("/-/session", include_in_schema=False, status_code=204)
async def sign_out(request: AnyRequest) -> Response[None]:
    same_origin(request)
    ended = sessions.cookie("", secure=scheme(request) == "https")
    return Response(None, status_code=204, headers={"Set-Cookie": ended})


@get("/-/predictions/{prediction_id:str}/events", include_in_schema=False)
async def events(request: AnyRequest, prediction_id: FromPath[str]) -> Stream:
    """All that its stream says; also of those whose clients get no stream, as their output comes in one piece."""
    account = await caller(request)
    return await followed(request, await find(request, prediction_id, account), everything=True)


static: Router = create_static_files_router(
    "/-/static/site", [pages.STATIC], name="site", cache_control=CacheControlHeader(no_cache=True)
)
router: Router = Router("/", route_handlers=[home, sign_in, sign_out, events, static])


def from_elsewhere(request: AnyRequest) -> bool:
    """Whether a link of another site led here: then the browser kept our cookie to itself, or it does not count."""
    site, mode = header(request, b"sec-fetch-site"), header(request, b"sec-fetch-mode")
    return mode == "navigate" and site in {"cross-site", "same-site"}


async def _catalogue(request: AnyRequest, account: Account, missing: str | None, status: int = 200) -> Response[str]:
    found = await parts(request).models.catalogue(
        account.username, everything="admin" in account.scopes, cursor=cursor(request), size=SHOWN
    )
    cards = [_card(request, model, await _latest(request, model)) for model in found.rows]
    more = "?" + urlencode({"cursor": found.next.token()}) if found.next else None
    return _page(pages.home(account, views(request).base, cards, more, missing), status)


async def _chosen(request: AnyRequest, account: Account, asked: str) -> Chosen:
    """Raises `NotFound`."""
    owner, _, name = asked.partition("/")
    if "\0" in asked:
        raise NotFound
    model = await parts(request).catalog.model(owner, name, account)
    version = await _latest(request, model)
    id, given = request.query_params.get("prediction"), None
    if id:
        p = await find(request, id, account)
        if p.model != asked:
            raise NotFound
        given = json.decode(views(request).prediction(p, None).input)
    made = form(json.decode(version.openapi_schema), given) if version else None
    return Chosen(card=_card(request, model, version), form=made, prediction=id or None)


async def _latest(request: AnyRequest, model: Model) -> Version | None:
    return await parts(request).catalog.kept(model.latest_version) if model.latest_version else None


def _card(request: AnyRequest, model: Model, version: Version | None) -> Card:
    fleet = parts(request).fleet
    state = "none"
    if version is not None:
        state = "ready" if fleet.warm(version.id) else fleet.starting(version.id) or "cold"
    return Card(
        owner=model.owner,
        name=model.name,
        description=model.description or "",
        run_count=model.run_count,
        version=version.id if version else None,
        state=state,
    )


async def _posted(request: AnyRequest) -> dict[str, str]:
    """The fields of a form. Raises `UnsupportedMedia` or `BadRequest`."""
    kind = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("Send the form as application/x-www-form-urlencoded.")
    try:
        fields = parse_qs((await context.body(request)).decode("latin-1"), max_num_fields=20)
    except ValueError as error:
        raise BadRequest("The form has too many fields.") from error
    return {name: values[0] for name, values in fields.items()}


def _page(text: str, status: int = 200) -> Response[str]:
    return Response(text, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)


def _back(query: dict[str, str], headers: dict[str, Any]) -> Response[None]:
    """To the page, wherever a proxy has put it."""
    there = "../" + ("?" + urlencode(query, safe="/") if query else "")
    return Response(None, status_code=303, headers={"Location": there, **HEADERS, **headers})
