"""The HTTP application: routes on the services of a gateway, and every error as one kind of document."""

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
from gateway.bootstrap import open_services
from gateway.errors import GatewayError
from gateway.http.dependencies import dependencies
from gateway.openapi.document import LazyOpenAPIConfig
from gateway.routes import (
    account_feed,
    accounts,
    collections,
    deployments,
    examples,
    files,
    gc,
    health,
    models,
    openai,
    predictions,
    pushes,
    runner_files,
    runners,
    search,
    site,
    streams,
    tokens,
    trainings,
    versions,
    webhooks,
)
from gateway.settings import Settings

log = structlog.get_logger("samovar.gateway")

DOCS_PATH: Final = "/-/docs"
VIEWER_PATH: Final = "/-/static/viewer"

EXPOSED_HEADERS: Final = (
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

ERRORS_BY_STATUS: Final[dict[int, type[GatewayError]]] = {
    400: errors.BadRequest,
    401: errors.BadToken,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMedia,
}


def create_app(settings: Settings, on_failure: Callable[[], None]) -> Litestar:
    """Return the application; `on_failure` is called when a worker has failed and the gateway must be started again."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with open_services(settings, on_failure) as app.state.services:
            yield

    catalogue = models, versions, examples, search, collections
    access = accounts, tokens
    jobs = account_feed, predictions, deployments, trainings, streams, files, webhooks
    resources = *jobs, *catalogue, pushes, *access, runners, gc
    api = Router("/v1", route_handlers=[each.router for each in resources])
    return GatewayApp(
        route_handlers=[
            api,
            site.router,
            runner_files.router,
            openai.router,
            health.router,
            create_static_files_router(VIEWER_PATH, [docs_viewer_folder()], name="viewer"),
        ],
        lifespan=[lifespan],
        dependencies=dependencies(),
        exception_handlers={GatewayError: as_problem, HTTPException: as_framework_problem, Exception: as_server_error},
        logging_config=None,
        request_max_body_size=settings.max_body,
        cors_config=cors_config(settings.cors_origins),
        openapi_config=LazyOpenAPIConfig(
            title="Samovar",
            version="1.0.0",
            description="Replicate's HTTP API, on your own machines.",
            path=DOCS_PATH,
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
            render_plugins=[docs_viewer()],
            use_handler_docstrings=True,
        ),
    )


class GatewayApp(Litestar):
    """Litestar without the plugins that it loads where pydantic is installed.

    Nothing here uses pydantic, and they take 9 MB.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def docs_viewer() -> SwaggerRenderPlugin:
    """Return the viewer of the OpenAPI document.

    Its files come from here, as a gateway may have no way to the internet.
    """
    return SwaggerRenderPlugin(
        js_url=f"{VIEWER_PATH}/swagger-ui-bundle.js",
        css_url=f"{VIEWER_PATH}/swagger-ui.css",
        standalone_preset_js_url=f"{VIEWER_PATH}/swagger-ui-standalone-preset.js",
        favicon=f"<link rel='icon' href='{VIEWER_PATH}/favicon-32x32.png'>",
    )


def docs_viewer_folder() -> Path:
    """Return the folder of the viewer's files, in the `swagger-ui-py` package, of which nothing else is used."""
    package = find_spec("swagger_ui")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "static"


def as_problem(_: Request[Any, Any, Any], error: GatewayError) -> Response[Any]:
    """Answer an error of ours with a problem document."""
    headers = error.headers() if isinstance(error, errors.TooManyRequests) else None
    return Response(error.problem(), status_code=error.status, media_type="application/problem+json", headers=headers)


def as_framework_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what litestar itself refuses in the shape that clients know."""
    if error.status_code == 405:
        return as_problem(request, errors.MethodNotAllowed())
    kind = ERRORS_BY_STATUS.get(error.status_code)
    if kind is None:
        return as_server_error(request, error) if error.status_code >= 500 else as_problem(request, errors.BadRequest())
    return as_problem(request, kind(error.detail if error.status_code == 400 else None))


def as_server_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Log an unexpected error and answer 500."""
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return as_problem(request, GatewayError())


def cors_config(origins: str) -> CORSConfig:
    """Return the CORS rules for the origins in the settings.

    Browsers may call with credentials, so the origin is echoed rather than `*`.
    """
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    common: dict[str, Any] = {
        "allow_credentials": True,
        "allow_headers": ["*"],
        "allow_methods": ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"],
        "expose_headers": [*EXPOSED_HEADERS],
    }
    if "*" in allowed:
        return CORSConfig(allow_origins=[], allow_origin_regex=".*", **common)
    return CORSConfig(allow_origins=allowed, **common)
