"""/runners: the hosts, the models that are hot on them, and the queues; now, and as they change."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from typing import Final

import structlog
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.response import Stream
from msgspec import json

from gateway.broker import Broker, BrokerError
from gateway.catalog.catalog import Catalog
from gateway.errors import NotFound, Unavailable
from gateway.events.live_events import LiveEvents
from gateway.events.sse import Frame
from gateway.fleet.registry import FleetRegistry
from gateway.http.asgi import AnyRequest, header, json_response
from gateway.http.context import authenticate
from gateway.http.event_stream import EventStream
from gateway.openapi.operations import EVENTS, operation
from gateway.openapi.parameters import LAST_RUNNERS_EVENT
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.views.fleet import Overview, build_overview, hide_models, model_names

log = structlog.get_logger("samovar.runners")

MIN_PAUSE_SECONDS: Final = 1.0  # between two events of one stream


@get("/runners", operation_id="runners.list", operation_class=operation(Overview))
async def list_runners(
    request: AnyRequest,
    broker: NamedDependency[Broker],
    fleet: NamedDependency[FleetRegistry],
    catalog: NamedDependency[Catalog],
) -> Response[bytes]:
    """List runners and queues.

    Runners that reported in the last seconds, with their memory, devices and instances; and versions with jobs
    waiting. Only Samovar has this; Replicate's API does not.
    """
    account = await authenticate(request)
    try:
        return json_response(await VisibleFleet(account, broker, fleet, catalog).read())
    except BrokerError as error:
        raise Unavailable("The broker does not say what waits. Try again.") from error


@get(
    "/runners/events",
    operation_id="runners.events",
    operation_class=operation(media=EVENTS, parameters=(LAST_RUNNERS_EVENT,)),
)
async def stream_runners(
    request: AnyRequest,
    broker: NamedDependency[Broker],
    fleet: NamedDependency[FleetRegistry],
    catalog: NamedDependency[Catalog],
    live_events: NamedDependency[LiveEvents],
    settings: NamedDependency[Settings],
) -> Stream:
    """Stream runners and queues as server-sent events.

    `runners` is sent with all of them when something has changed, at most once a second.
    """
    account = await authenticate(request)
    visible = VisibleFleet(account, broker, fleet, catalog)
    frames = visible.frames(live_events, header(request, b"last-event-id"))
    return EventStream(frames, settings.keep_alive)


router = Router("/", route_handlers=[list_runners, stream_runners], tags=["operation"])


class VisibleFleet:
    """The runners and queues, without the private models that an account may not see."""

    def __init__(self, account: Account, broker: Broker, fleet: FleetRegistry, catalog: Catalog) -> None:
        self._account = account
        self._broker = broker
        self._fleet = fleet
        self._catalog = catalog

    async def read(self) -> Overview:
        """Return the fleet as it is now. Raises `Failed`."""
        complete = build_overview(self._fleet, await self._broker.queue_depths())
        if "admin" in self._account.scopes:
            return complete
        hidden = {name for name in model_names(complete) if not await self._is_visible(name)}
        return hide_models(complete, hidden) if hidden else complete

    async def frames(self, live_events: LiveEvents, last_id: str | None) -> AsyncGenerator[bytes]:
        """Yield a frame whenever something has changed; `last_id` is the id of what the client has.

        The fleet is read when a runner reports: as long as there is one, it does.
        """
        with live_events.subscribe_detached() as subscriber, self._fleet.listen(subscriber.notify):
            while True:
                try:
                    text = json.encode(await self.read())
                except BrokerError as error:
                    log.debug("queues_not_seen", reason=str(error))
                else:
                    id = f"{zlib.crc32(text):08x}"
                    if id != last_id:
                        yield Frame("runners", id, text).encode()
                    last_id = id
                await asyncio.sleep(MIN_PAUSE_SECONDS)
                await subscriber.next_events()

    async def _is_visible(self, full_name: str) -> bool:
        owner, _, name = full_name.partition("/")
        try:
            await self._catalog.get_model(owner, name, self._account)
        except NotFound:
            return False
        return True
