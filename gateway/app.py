"""The composition root: parts serve routes, and whatever goes wrong is answered in one shape."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, Router
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]

from gateway import errors
from gateway.bootstrap import opened
from gateway.errors import GatewayError
from gateway.openapi.document import Described
from gateway.routes import (
    account,
    accounts,
    collections,
    deployments,
    examples,
    gc,
    health,
    models,
    openai,
    predictions,
    pushes,
    runner_files,
    search,
    site,
    streams,
    tokens,
    trainings,
    versions,
    webhooks,
)
from gateway.routes import account_feed as feeds
from gateway.routes import files as uploaded
from gateway.routes import runners as hosts
from gateway.settings import Settings

log = structlog.get_logger("samovar.gateway")

DOCS: Final = "/-/docs"
VIEWER: Final = "/-/static/viewer"

EXPOSED: Final = (
    "Location",
    "Preference-Applied",
    "Retry-After",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "ratelimit-remaining",
    "ratelimit-reset",
)
"""Headers that scripts of other origins may read."""

BY_STATUS: Final[dict[int, type[GatewayError]]] = {
    400: errors.BadRequest,
    401: errors.BadToken,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMedia,
}


def create_app(settings: Settings, on_failure: Callable[[], None]) -> Litestar:
    """`on_failure` is called when a part of it has failed, and the gateway has to be started anew."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with opened(settings, on_failure) as app.state.parts:
            yield

    catalogue = models, versions, examples, search, collections
    access = account, accounts, tokens
    jobs = feeds, predictions, deployments, trainings, streams, uploaded, webhooks
    resources = *jobs, *catalogue, pushes, *access, hosts, gc
    api = Router("/v1", route_handlers=[each.router for each in resources])
    return App(
        route_handlers=[
            api,
            site.router,
            runner_files.router,
            openai.router,
            health.router,
            create_static_files_router(VIEWER, [viewer_files()], name="viewer"),
        ],
        lifespan=[lifespan],
        exception_handlers={GatewayError: as_problem, HTTPException: as_framework_problem, Exception: as_fault},
        logging_config=None,
        request_max_body_size=settings.max_body,
        cors_config=cors(settings.cors_origins),
        openapi_config=Described(
            title="Samovar",
            version="1.0.0",
            description="Replicate's HTTP API, on your own machines.",
            path=DOCS,
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
            render_plugins=[viewer()],
            use_handler_docstrings=True,
        ),
    )


class App(Litestar):
    """Without what litestar loads where pydantic is installed: nothing here is of its kind, and it takes 9 MB."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def viewer() -> SwaggerRenderPlugin:
    """Of the OpenAPI document; its files come from here, as a gateway may well have no way to the internet."""
    return SwaggerRenderPlugin(
        js_url=f"{VIEWER}/swagger-ui-bundle.js",
        css_url=f"{VIEWER}/swagger-ui.css",
        standalone_preset_js_url=f"{VIEWER}/swagger-ui-standalone-preset.js",
        favicon=f"<link rel='icon' href='{VIEWER}/favicon-32x32.png'>",
    )


def viewer_files() -> Path:
    """Inside the `swagger-ui-py` package, of which only the files are used."""
    package = find_spec("swagger_ui")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "static"


def as_problem(_: Request[Any, Any, Any], error: GatewayError) -> Response[Any]:
    headers = error.headers() if isinstance(error, errors.TooMany) else None
    return Response(error.problem(), status_code=error.status, media_type="application/problem+json", headers=headers)


def as_framework_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What litestar itself refuses, in the shape that clients know."""
    if error.status_code == 405:
        return as_problem(request, errors.MethodNotAllowed())
    kind = BY_STATUS.get(error.status_code)
    if kind is None:
        return as_fault(request, error) if error.status_code >= 500 else as_problem(request, errors.BadRequest())
    return as_problem(request, kind(error.detail if error.status_code == 400 else None))


def as_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return as_problem(request, GatewayError())


def cors(origins: str) -> CORSConfig:
    """Browsers may call with credentials, so the origin is echoed rather than starred."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    common: dict[str, Any] = {
        "allow_credentials": True,
        "allow_headers": ["*"],
        "allow_methods": ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"],
        "expose_headers": [*EXPOSED],
    }
    if "*" in allowed:
        return CORSConfig(allow_origins=[], allow_origin_regex=".*", **common)
    return CORSConfig(allow_origins=allowed, **common)
