"""/runners: which hosts there are, which models are hot on them, and what waits; now, and as it changes."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from typing import Final

import structlog
from litestar import Response, Router, get
from litestar.response import Stream
from msgspec import json

from gateway.broker import Failed
from gateway.errors import NotFound, Unavailable
from gateway.events.sse import Frame
from gateway.http.context import AnyRequest, answer, caller, header, parts
from gateway.http.event_stream import Events
from gateway.openapi.operations import RunnersOperation
from gateway.services import Parts
from gateway.store.accounts import Account
from gateway.views.fleet import Overview, models, overview, without

log = structlog.get_logger("samovar.runners")

PAUSE: Final = 1.0  # seconds between two events of one stream


@get("/runners", operation_id="runners.list")
async def page(request: AnyRequest) -> Response[bytes]:
    """Runners heard of in the last seconds, with their memory, devices and instances; and versions with jobs waiting.

    Of Samovar alone: Replicate's API has nothing like it.
    """
    account = await caller(request)
    try:
        return answer(await _seen(parts(request), account))
    except Failed as error:
        raise Unavailable("The broker does not say what waits. Try again.") from error


@get("/runners/events", operation_id="runners.events", operation_class=RunnersOperation)
async def events(request: AnyRequest) -> Stream:
    """The same as server-sent events: `runners`, with all of it, when something has changed; at most one a second."""
    account = await caller(request)
    here = parts(request)
    changes = _changes(here, account, header(request, b"last-event-id"))
    return Events(changes, here.settings.keep_alive)


router = Router("/", route_handlers=[page, events], tags=["operation"])


async def _seen(here: Parts, account: Account) -> Overview:
    """Without the private models of others. Raises `Failed`."""
    seen = overview(here.fleet, await here.broker.depths())
    if "admin" in account.scopes:
        return seen
    hidden = {name for name in models(seen) if not await _shown(here, account, name)}
    return without(seen, hidden) if hidden else seen


async def _shown(here: Parts, account: Account, name: str) -> bool:
    owner, _, model = name.partition("/")
    try:
        await here.catalog.model(owner, model, account)
    except NotFound:
        return False
    return True


async def _changes(here: Parts, account: Account, last: str | None) -> AsyncGenerator[bytes]:
    """`last` is the id of what the client has. Looked at when a runner says something: while one is there, it does."""
    with here.live.attend() as ear, here.fleet.listen(ear.stir):
        while True:
            try:
                text = json.encode(await _seen(here, account))
            except Failed as error:
                log.debug("queues_not_seen", reason=str(error))
            else:
                id = f"{zlib.crc32(text):08x}"
                if id != last:
                    yield Frame("runners", id, text).encode()
                last = id
            await asyncio.sleep(PAUSE)
            await ear.next()
