"""/predictions/events: all of the caller's predictions as server-sent events, as they are made, begin and end."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.response import Stream
from msgspec import UNSET, Raw, Struct, UnsetType, json

from gateway.errors import Unavailable
from gateway.events.account_feed import MAX_PENDING_CHANGES, AccountFeed
from gateway.events.live_events import LiveEvents
from gateway.events.sse import Frame
from gateway.events.subscriptions import Shutdown
from gateway.http.asgi import AnyRequest, header
from gateway.http.context import authenticate
from gateway.http.event_stream import EventStream
from gateway.http.prediction_lookup import PredictionLookup
from gateway.openapi.operations import EVENTS, operation
from gateway.openapi.parameters import FEED
from gateway.settings import Settings
from gateway.store.changes import ChangeStore
from gateway.views.resources import Views
from schemas.changes import Change
from schemas.prediction import Prediction

T = TypeVar("T")

ID: Final = re.compile(r"\d{1,16}")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
OVERLAP: Final = timedelta(seconds=5)
"""What is written at the same time is not told in the order of its moments; a statement does not take so long."""
RETRY_SECONDS: Final = 0.25  # until a database that did not answer is asked again
RESET: Final = b'{"detail":"More has changed than is told here. Read the list anew; what comes from now on follows."}'


class FeedItem(Struct, kw_only=True):
    """A prediction as lists show it, without what it was given and said."""

    id: str
    model: str
    version: str
    source: str
    status: str
    starting: str | UnsetType = UNSET
    created_at: str
    started_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    deployment: str | UnsetType = UNSET
    error: str | None
    metrics: dict[str, Any] | UnsetType = UNSET
    urls: dict[str, str]


@get("/predictions/events", operation_id="predictions.events", operation_class=operation(media=EVENTS, parameters=FEED))
async def stream_account_feed(
    request: AnyRequest,
    account_feed: NamedDependency[AccountFeed],
    change_store: NamedDependency[ChangeStore],
    live_events: NamedDependency[LiveEvents],
    prediction_lookup: NamedDependency[PredictionLookup],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
) -> Stream:
    """Stream your predictions as server-sent events.

    `prediction` is sent whenever one is created, begins or ends: from now on, or with `Last-Event-ID` from where you
    left off. `reset` is sent when too much has changed since: read the list then. Only Samovar has this; Replicate's
    API does not.
    """
    account = await authenticate(request)
    last = header(request, b"last-event-id") or request.query_params.get("last_event_id")
    feed = FeedStream(account.id, last, account_feed, change_store, live_events, prediction_lookup, views)
    return EventStream(feed.frames(), settings.keep_alive)


router = Router("/", route_handlers=[stream_account_feed], tags=["predictions"])


class FeedStream:
    """The account feed as one client reads it, and how far that client has come.

    A route makes one for each request. The frames come from the changes that gateways publish, and from the database
    at the start, and whenever a change may have been missed.
    """

    def __init__(
        self,
        account: int,
        last_id: str | None,
        account_feed: AccountFeed,
        change_store: ChangeStore,
        live_events: LiveEvents,
        prediction_lookup: PredictionLookup,
        views: Views,
    ) -> None:
        self._account = account
        self._last_id = last_id
        self._account_feed = account_feed
        self._change_store = change_store
        self._live_events = live_events
        self._prediction_lookup = prediction_lookup
        self._views = views
        self._position = EPOCH
        self._replayed: dict[str, datetime] = {}

    async def frames(self) -> AsyncGenerator[bytes]:
        """Yield one write for all that has changed, however much that is.

        It subscribes before it reads the database, so that nothing is missed.
        """
        with self._live_events.subscribe_detached() as subscriber:
            async with self._account_feed.subscribe(self._account, subscriber) as subscription:
                yield await self._first_frames()
                while True:
                    changes = await subscription.next_changes()
                    if frames := await self._replay() if changes is None else await self._frames(changes):
                        yield frames

    async def _first_frames(self) -> bytes:
        """Return an id at once: a client that is cut off before the first event can resume from it."""
        now = await self._read_persistently(self._change_store.now)
        if self._last_id is None:
            self._position = now
            return b"id: %d\n\n" % _event_id(now)
        if not ID.fullmatch(self._last_id) or EPOCH + int(self._last_id) * MICROSECOND > now:
            return await self._reset()
        self._position = EPOCH + int(self._last_id) * MICROSECOND
        return (await self._replay()) or b"id: %d\n\n" % _event_id(self._position)

    async def _replay(self) -> bytes:
        """Return what the database says has changed since; a little of it may have been sent before."""
        since = max(self._position, EPOCH + OVERLAP) - OVERLAP
        changes = await self._read_persistently(
            lambda: self._change_store.list_since(self._account, since, MAX_PENDING_CHANGES + 1)
        )
        if len(changes) > MAX_PENDING_CHANGES:
            return await self._reset()
        self._replayed = {}
        frames = await self._frames(changes)
        self._replayed = {change.id: change.at for change in changes}
        return frames

    async def _reset(self) -> bytes:
        self._position = await self._read_persistently(self._change_store.now)
        return Frame("reset", str(_event_id(self._position)), RESET).encode()

    async def _frames(self, changes: list[Change]) -> bytes:
        frames: list[bytes] = []
        for change in changes:
            if (replayed_at := self._replayed.get(change.id)) is None or replayed_at < change.at:
                frames.append(await self._frame(change))
        return b"".join(frames)

    async def _frame(self, change: Change) -> bytes:
        self._position = max(self._position, change.at)
        p = _prediction(change)
        version = await self._read_persistently(lambda: self._prediction_lookup.find_version(p))
        full = self._views.prediction(p, version)
        item = FeedItem(**{name: getattr(full, name) for name in FeedItem.__struct_fields__})
        return Frame("prediction", str(_event_id(self._position)), json.encode(item)).encode()

    async def _read_persistently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read again until the database answers. Raises `Shutdown` when the gateway is about to stop."""
        while True:
            try:
                return await read()
            except Unavailable as error:
                if self._live_events.is_closing:
                    raise Shutdown from error
                await asyncio.sleep(RETRY_SECONDS)


def _event_id(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _prediction(change: Change) -> Prediction:
    shared = {name: getattr(change, name) for name in Change.__struct_fields__ if name != "at"}
    return Prediction(**shared, input=Raw(b"{}"))
