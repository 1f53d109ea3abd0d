"""The composition root: settings become connections, connections become parts, parts serve routes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, Router
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]

from gateway import broker as brokers
from gateway import errors, ids, metrics
from gateway.auth import Auth
from gateway.broker import Broker, Failed
from gateway.builds import Builds
from gateway.call import Parts
from gateway.cancels import Cancels
from gateway.catalog import Catalog
from gateway.counts import RunCounts
from gateway.create import Creator
from gateway.deleting import Deleting
from gateway.deployments import Deployments as Deploying
from gateway.errors import GatewayError
from gateway.files import Files
from gateway.fleet import Fleet
from gateway.follow import Follower
from gateway.gc import Gc
from gateway.ids import Capabilities
from gateway.inputs import Inputs
from gateway.live import Live
from gateway.pushes import Pushes
from gateway.reconciler import Reconciler
from gateway.recorder import Recorder
from gateway.routes import account, deployments, gc, health, models, predictions, pushes, shared, streams
from gateway.routes import files as uploaded
from gateway.routes import runners as hosts
from gateway.runners import Runners
from gateway.settings import Settings
from gateway.store import pool as pools
from gateway.store.accounts import Accounts
from gateway.store.deployments import Deployments
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from gateway.store.uploads import Uploads
from gateway.uploads import Uploading
from schemas import subjects
from schemas.events import Final as FinalEvent

log = structlog.get_logger("samovar.gateway")

DOCS: Final = "/-/docs"
VIEWER: Final = "/-/static/viewer"

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

    resources = predictions, models, pushes, uploaded, account, streams, hosts, gc, deployments
    api = Router("/v1", route_handlers=[each.router for each in resources])
    return Litestar(
        route_handlers=[
            api,
            shared.router,
            health.router,
            create_static_files_router(VIEWER, [viewer_files()], name="viewer"),
        ],
        lifespan=[lifespan],
        exception_handlers={GatewayError: as_problem, HTTPException: as_framework_problem, Exception: as_fault},
        logging_config=None,
        request_max_body_size=settings.max_body,
        cors_config=cors(settings.cors_origins),
        openapi_config=OpenAPIConfig(
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


@asynccontextmanager
async def opened(settings: Settings, on_failure: Callable[[], None]) -> AsyncGenerator[Parts]:
    """Everything that a gateway needs, opened in order and closed in reverse."""
    streams = subjects.streams(
        replicas=settings.replicas,
        queue_cap=settings.queue_cap,
        events_age=settings.events_age,
        events_bytes=settings.events_bytes,
    )
    on_gaps: list[Callable[[], None]] = []

    def on_gap() -> None:
        for missed in on_gaps:
            missed()

    async with (
        pools.connected(settings.database_url, settings.database_connections) as pool,
        brokers.connected(settings.nats_url, on_gap) as client,
    ):
        accounts, rows, record = Accounts(pool), Models(pool), Predictions(pool)
        if settings.token:
            await accounts.admit(settings.account, settings.token)
        capabilities = Capabilities(await accounts.secret("capabilities"))
        broker, files, uploads = Broker(client, streams), Files(settings.files_url), Uploads(pool)
        catalog = Catalog(rows, time.monotonic)
        builds = Builds(record, rows, catalog)
        recorder = Recorder(client, broker, record, builds.recorded)
        reconciler = Reconciler(record, broker, recorder, files)

        def on_final(event: FinalEvent, heard: bool) -> None:
            metrics.observe(event)
            reconciler.ended(event.id)
            if not heard:  # whoever heard it tells it, and what is told is recorded
                recorder.hear(event)

        live = Live(client, ids.draw_tag(), on_final)
        on_gaps += [live.missed, catalog.forget]
        follower = Follower(record, broker, live, recorder)
        fleet = Fleet(time.monotonic)
        runners = Runners(client, broker, catalog, fleet)
        released = Deployments(pool)
        deploying = Deploying(client, released, broker, fleet)
        cancels, counts = Cancels(record, broker), RunCounts(rows.count_runs)
        creator = Creator(
            record=record,
            broker=broker,
            live=live,
            follower=follower,
            recorder=recorder,
            reconciler=reconciler,
            files=files,
            warm=fleet.warm,
            count=counts.add,
        )
        parts = Parts(
            settings=settings,
            auth=Auth(accounts, time.monotonic),
            capabilities=capabilities,
            catalog=catalog,
            models=rows,
            predictions=record,
            creator=creator,
            follower=follower,
            live=live,
            cancels=cancels,
            broker=broker,
            fleet=fleet,
            files=files,
            inputs=Inputs(settings.secrets_public_key),
            uploads=uploads,
            uploading=Uploading(uploads, files, Capabilities(await accounts.secret("downloads")), settings.max_upload),
            pushes=Pushes(
                owners=accounts, record=record, models=rows, creator=creator, files=files, limit=settings.max_push
            ),
            builds=builds,
            deleting=Deleting(
                record=record,
                models=rows,
                catalog=catalog,
                files=files,
                broker=broker,
                cancels=cancels,
                fleet=fleet,
            ),
            gc=Gc(files, rows, record, uploads),
            deployments=released,
            deploying=deploying,
        )
        try:
            await broker.ensure()
        except Failed as error:
            log.warning("streams_not_there_yet", reason=str(error))
        await live.start()
        services = recorder.serve(), reconciler.serve(), cancels.serve(), runners.serve(), counts.serve()
        services += (deploying.serve(),)
        async with running(*services, on_failure=on_failure):
            yield parts
        await counts.flush()
        await record.close()


@asynccontextmanager
async def running(*services: Coroutine[Any, Any, None], on_failure: Callable[[], None]) -> AsyncGenerator[None]:
    """Services that run until the block is left.

    One that fails takes the gateway with it: its supervisor starts another, which beats one that records nothing.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("service_failed", service=task.get_name(), exc_info=error)
            on_failure()

    tasks = [asyncio.create_task(service, name=service.__qualname__) for service in services]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def as_problem(_: Request[Any, Any, Any], error: GatewayError) -> Response[Any]:
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.QueueFull) else None
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
        "expose_headers": ["Location", "Preference-Applied", "Retry-After"],
    }
    if "*" in allowed:
        return CORSConfig(allow_origins=[], allow_origin_regex=".*", **common)
    return CORSConfig(allow_origins=allowed, **common)
