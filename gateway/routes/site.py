"""/: the website, and the sessions of browsers."""

from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from litestar import Response, Router, delete, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from msgspec import json

from gateway.auth.authenticator import Authenticator
from gateway.auth.sessions import Sessions, format_cookie
from gateway.catalog.catalog import Catalog, Version
from gateway.errors import BadRequest, BadToken, NotFound, NoToken, UnsupportedMedia
from gateway.fleet.registry import FleetRegistry
from gateway.http import asgi
from gateway.http.asgi import AnyRequest, header
from gateway.http.context import authenticate, page_cursor, require_same_origin, url_scheme
from gateway.http.prediction_lookup import PredictionLookup
from gateway.routes.streams import stream_prediction
from gateway.store.accounts import Account
from gateway.store.models import Model, ModelStore
from gateway.views.resources import Views
from gateway.web import pages
from gateway.web.forms import form
from gateway.web.pages import Card, SelectedModel

PAGE_SIZE: Final = 60  # models
CONTENT_SECURITY_POLICY: Final = "; ".join(
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
PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@get("/", include_in_schema=False)
async def show_home(
    request: AnyRequest,
    catalog: NamedDependency[Catalog],
    fleet: NamedDependency[FleetRegistry],
    model_store: NamedDependency[ModelStore],
    prediction_lookup: NamedDependency[PredictionLookup],
    views: NamedDependency[Views],
) -> Response[str]:
    """Show the catalogue; with `model=owner/name` a form to run it, with `prediction=id` also that prediction."""
    query = request.query_params
    if is_navigation_from_elsewhere(request):
        return _page(pages.render_reload())
    try:
        account = await authenticate(request)
    except NoToken:
        return _page(pages.render_signin(refused="refused" in query, model=query.get("model", "")))
    cards = ModelCards(catalog, fleet)
    full_name = query.get("model")
    if not full_name:
        return await _catalogue(request, account, model_store, cards, views)
    try:
        text = await _model_page(request, account, full_name, catalog, cards, prediction_lookup, views)
    except NotFound:
        return await _catalogue(request, account, model_store, cards, views, missing=full_name)
    return _page(text)


@post("/-/session", include_in_schema=False, status_code=303)
async def sign_in(
    request: AnyRequest, authenticator: NamedDependency[Authenticator], sessions: NamedDependency[Sessions]
) -> Response[None]:
    """Begin a session with the token of the sign-in form."""
    require_same_origin(request)
    fields = await _read_form(request)
    model = {"model": fields["model"]} if fields.get("model") else {}
    try:
        account = await authenticator.authenticate(f"Bearer {fields.get('token', '').strip()}")
    except BadToken:
        return _redirect_to_home({"refused": "", **model}, {})
    return _redirect_to_home(model, {"Set-Cookie": _session_cookie(request, sessions.create(account))})


@delete("/-/session", include_in_schema=False, status_code=204)
async def sign_out(request: AnyRequest) -> Response[None]:
    """End the session of a browser."""
    require_same_origin(request)
    return Response(None, status_code=204, headers={"Set-Cookie": _session_cookie(request, "")})


@get("/-/predictions/{prediction_id:str}/events", include_in_schema=False)
async def stream_all_events(
    request: AnyRequest, prediction_id: FromPath[str], prediction_lookup: NamedDependency[PredictionLookup]
) -> Stream:
    """Stream all events of a prediction, also of one whose clients get no stream, as its output comes in one piece."""
    account = await authenticate(request)
    return await stream_prediction(request, await prediction_lookup.find(prediction_id, account), all_events=True)


static: Router = create_static_files_router(
    "/-/static/site", [pages.STATIC], name="site", cache_control=CacheControlHeader(no_cache=True)
)
router: Router = Router("/", route_handlers=[show_home, sign_in, sign_out, stream_all_events, static])


def is_navigation_from_elsewhere(request: AnyRequest) -> bool:
    """Return whether a link of another site led here: then no cookie of ours counts."""
    site, mode = header(request, b"sec-fetch-site"), header(request, b"sec-fetch-mode")
    return mode == "navigate" and site in {"cross-site", "same-site"}


class ModelCards:
    """Builds what pages show of a model, with its latest version and whether that is ready."""

    def __init__(self, catalog: Catalog, fleet: FleetRegistry) -> None:
        self._catalog = catalog
        self._fleet = fleet

    async def latest_version(self, model: Model) -> Version | None:
        """Return the latest version of a model, if it has one."""
        return await self._catalog.find_version(model.latest_version) if model.latest_version else None

    def build(self, model: Model, version: Version | None) -> Card:
        """Return the card of a model whose latest version this is."""
        state = "none"
        if version is not None:
            state = "ready" if self._fleet.is_warm(version.id) else self._fleet.starting_phase(version.id) or "cold"
        return Card(
            owner=model.owner,
            name=model.name,
            description=model.description or "",
            run_count=model.run_count,
            version=version.id if version else None,
            state=state,
        )


async def _catalogue(
    request: AnyRequest,
    account: Account,
    model_store: ModelStore,
    cards: ModelCards,
    views: Views,
    *,
    missing: str | None = None,
) -> Response[str]:
    """Show the models that this account may see; 404 if it asked for one that is `missing`."""
    page = await model_store.visible_page(
        account.username, include_private="admin" in account.scopes, cursor=page_cursor(request), size=PAGE_SIZE
    )
    model_cards = [cards.build(model, await cards.latest_version(model)) for model in page.rows]
    more = "?" + urlencode({"cursor": page.next.token()}) if page.next else None
    return _page(pages.render_home(account, views.base, model_cards, more, missing), 404 if missing else 200)


async def _model_page(
    request: AnyRequest,
    account: Account,
    full_name: str,
    catalog: Catalog,
    cards: ModelCards,
    prediction_lookup: PredictionLookup,
    views: Views,
) -> str:
    """Return the page of a model, and of the prediction that the query names. Raises `NotFound`."""
    if "\0" in full_name:
        raise NotFound
    owner, _, name = full_name.partition("/")
    model = await catalog.get_model(owner, name, account)
    version = await cards.latest_version(model)
    id, input = request.query_params.get("prediction"), None
    if id:
        p = await prediction_lookup.find(id, account)
        if p.model != full_name:
            raise NotFound
        input = json.decode(views.prediction(p, None).input)
    input_form = form(json.decode(version.openapi_schema), input) if version else None
    chosen = SelectedModel(card=cards.build(model, version), form=input_form, prediction=id or None)
    return pages.render_model(account, views.base, chosen)


async def _read_form(request: AnyRequest) -> dict[str, str]:
    """Return the fields of a form. Raises `UnsupportedMedia` or `BadRequest`."""
    media_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("Send the form as application/x-www-form-urlencoded.")
    try:
        fields = parse_qs((await asgi.read_body(request)).decode("latin-1"), max_num_fields=20)
    except ValueError as error:
        raise BadRequest("The form has too many fields.") from error
    return {name: values[0] for name, values in fields.items()}


def _session_cookie(request: AnyRequest, value: str) -> str:
    return format_cookie(value, secure=url_scheme(request) == "https")


def _page(text: str, status: int = 200) -> Response[str]:
    return Response(text, status_code=status, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


def _redirect_to_home(query: dict[str, str], headers: dict[str, Any]) -> Response[None]:
    """Redirect to the page, wherever a proxy has put it."""
    location = "../" + ("?" + urlencode(query, safe="/") if query else "")
    return Response(None, status_code=303, headers={"Location": location, **PAGE_HEADERS, **headers})
