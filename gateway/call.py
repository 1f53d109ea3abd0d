"""One request: who calls, and how what they get back is written."""

from collections.abc import Mapping
from typing import Any

from litestar import Request, Response
from msgspec import Struct, json

from gateway.auth import Auth
from gateway.broker import Broker
from gateway.cancels import Cancels
from gateway.catalog import Catalog
from gateway.create import Creator
from gateway.files import Files
from gateway.follow import Follower
from gateway.ids import Capabilities
from gateway.live import Live
from gateway.runners import Runners
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from gateway.views import Views

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
    runners: Runners
    files: Files


def parts(request: AnyRequest) -> Parts:
    return request.app.state.parts


async def caller(request: AnyRequest) -> Account:
    """Raises `NoToken` or `BadToken`."""
    return await parts(request).auth.account(request.headers.get("authorization"))


def views(request: AnyRequest) -> Views:
    here = parts(request)
    return Views(here.settings.public_url or _called(request), here.capabilities)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Response(json.encode(content), status_code=status, media_type="application/json", headers=headers)


def _called(request: AnyRequest) -> str:
    """The base that the client itself used, also behind a proxy."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.scope["scheme"]).partition(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "localhost")).partition(",")[0].strip()
    return f"{scheme}://{host}"
