"""One request: who calls, and how what they get back is written."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct, json

from gateway import validation
from gateway.auth import Auth
from gateway.broker import Broker
from gateway.builds import Builds
from gateway.cancels import Cancels
from gateway.catalog import Catalog
from gateway.create import Creator
from gateway.deleting import Deleting
from gateway.deployments import Deployments as Deploying
from gateway.errors import Forbidden
from gateway.files import Files
from gateway.fleet import Fleet
from gateway.follow import Follower
from gateway.gc import Gc
from gateway.ids import Capabilities
from gateway.inputs import Inputs
from gateway.live import Live
from gateway.pushes import Pushes
from gateway.settings import Settings
from gateway.store.accounts import Account, Right
from gateway.store.deployments import Deployments
from gateway.store.models import Models
from gateway.store.pages import Cursor, Listed
from gateway.store.predictions import Predictions
from gateway.store.uploads import Uploads
from gateway.uploads import Uploading
from gateway.views import Page, Views

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


class Parts(Struct, frozen=True, kw_only=True):
    """What the lifespan opened."""

    settings: Settings
    auth: Auth
    capabilities: Capabilities
    catalog: Catalog
    models: Models
    predictions: Predictions
    creator: Creator
    follower: Follower
    live: Live
    cancels: Cancels
    broker: Broker
    fleet: Fleet
    files: Files
    inputs: Inputs
    uploads: Uploads
    uploading: Uploading
    pushes: Pushes
    builds: Builds
    deleting: Deleting
    gc: Gc
    deployments: Deployments
    deploying: Deploying


def parts(request: AnyRequest) -> Parts:
    return request.scope["litestar_app"].state.parts


def header(request: AnyRequest, name: bytes) -> str | None:
    """By its lower-case name. The request's own mapping costs more to make than all that we look up in it."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), None)


async def caller(request: AnyRequest, right: Right | None = None) -> Account:
    """Raises `NoToken` or `BadToken`; `Forbidden` for a token that lacks the right. To read, any token will do."""
    account = await parts(request).auth.account(header(request, b"authorization"))
    if right is not None and right not in account.scopes:
        raise Forbidden(f"This token lacks the scope {right}. `samovar tokens create` makes one that has it.")
    return account


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


def paged(request: AnyRequest, found: Listed[Any], results: list[Any]) -> Response[bytes]:
    """A page of a list, as clients see its rows, with links to those beside it."""
    return answer(Page(next=_link(request, found.next), previous=_link(request, found.previous), results=results))


async def read(request: AnyRequest, kind: type[T]) -> T:
    """A JSON body. Raises like `validation.decoded`, and `BodyTooLarge`."""
    content = await request.body()
    return validation.decoded(content, header(request, b"content-type") or "", parts(request).settings.max_depth, kind)


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


def _link(request: AnyRequest, cursor: Cursor | None) -> str | None:
    """This page's URL, with another cursor; None for no page."""
    if cursor is None:
        return None
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return f"{views(request).base}{request.scope['path']}?{urlencode({**query, 'cursor': cursor.token()})}"


def _called(request: AnyRequest) -> str:
    """The base that the client itself used, also behind a proxy."""
    scheme = header(request, b"x-forwarded-proto") or request.scope["scheme"]
    host = header(request, b"x-forwarded-host") or header(request, b"host") or "localhost"
    return f"{scheme.partition(',')[0].strip()}://{host.partition(',')[0].strip()}"
