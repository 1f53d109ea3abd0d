"""/predictions/events: all of the caller's predictions as server-sent events, as they are made, begin and end."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from litestar import Router, get
from litestar.response import Stream
from msgspec import UNSET, Raw, Struct, UnsetType, json

from gateway.errors import Unavailable
from gateway.events.account_feed import MOST
from gateway.events.sse import Frame
from gateway.events.subscriptions import Closing
from gateway.http.context import AnyRequest, caller, header, parts, views
from gateway.http.event_stream import Events
from gateway.openapi.operations import FeedOperation
from gateway.routes.predictions import known_version
from schemas.changes import Change
from schemas.prediction import Prediction

T = TypeVar("T")

ID: Final = re.compile(r"\d{1,16}")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
OVERLAP: Final = timedelta(seconds=5)
"""What is written at the same time is not told in the order of its moments; a statement does not take so long."""
RETRY: Final = 0.25  # seconds until a database that was away is asked again
RESET: Final = b'{"detail":"More has changed than is told here. Read the list anew; what comes from now on follows."}'


class Told(Struct, kw_only=True):
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


@get("/predictions/events", operation_id="predictions.events", operation_class=FeedOperation)
async def events(request: AnyRequest) -> Stream:
    """Your predictions as server-sent events: `prediction` whenever one was made, has begun, or has ended.

    From now on, or with `Last-Event-ID` from where you left off; `reset` when too much has changed since: read the
    list then. Of Samovar alone: Replicate's API has nothing like it.
    """
    account = await caller(request)
    last = header(request, b"last-event-id") or request.query_params.get("last_event_id")
    return Events(Listening(request, account.id, last).frames(), parts(request).settings.keep_alive)


router = Router("/", route_handlers=[events], tags=["predictions"])


class Listening:
    """One client, and how far it is."""

    def __init__(self, request: AnyRequest, account: int, last: str | None) -> None:
        self._request = request
        self._here = parts(request)
        self._account = account
        self._last = last
        self._at = EPOCH
        self._replayed: dict[str, datetime] = {}

    async def frames(self) -> AsyncGenerator[bytes]:
        """One write for all that has changed, however much that is. Listened to first, so that nothing is missed."""
        with self._here.live.attend() as ear:
            async with self._here.feed.listen(self._account, ear) as hearer:
                yield await self._opening()
                while True:
                    heard = await hearer.next()
                    if frames := await self._replay() if heard is None else await self._frames(heard):
                        yield frames

    async def _opening(self) -> bytes:
        """An id at once: whoever is cut off before the first event can come back for it."""
        now = await self._surely(self._here.changed.now)
        if self._last is None:
            self._at = now
            return b"id: %d\n\n" % _number(now)
        if not ID.fullmatch(self._last) or EPOCH + int(self._last) * MICROSECOND > now:
            return await self._reset()
        self._at = EPOCH + int(self._last) * MICROSECOND
        return (await self._replay()) or b"id: %d\n\n" % _number(self._at)

    async def _replay(self) -> bytes:
        """What the record says has changed since; a little of it may have been told before."""
        since = max(self._at, EPOCH + OVERLAP) - OVERLAP
        found = await self._surely(lambda: self._here.changed.since(self._account, since, MOST + 1))
        if len(found) > MOST:
            return await self._reset()
        self._replayed = {}
        frames = await self._frames(found)
        self._replayed = {change.id: change.at for change in found}
        return frames

    async def _reset(self) -> bytes:
        self._at = await self._surely(self._here.changed.now)
        return Frame("reset", str(_number(self._at)), RESET).encode()

    async def _frames(self, changes: list[Change]) -> bytes:
        written: list[bytes] = []
        for change in changes:
            if (before := self._replayed.get(change.id)) is None or before < change.at:
                written.append(await self._frame(change))
        return b"".join(written)

    async def _frame(self, change: Change) -> bytes:
        self._at = max(self._at, change.at)
        p = _prediction(change)
        version = await self._surely(lambda: known_version(self._request, p))
        full = views(self._request).prediction(p, version)
        told = Told(**{name: getattr(full, name) for name in Told.__struct_fields__})
        return Frame("prediction", str(_number(self._at)), json.encode(told)).encode()

    async def _surely(self, read: Callable[[], Awaitable[T]]) -> T:
        """Waits for a record that is away. Raises `Closing` rather than wait on when the gateway is about to stop."""
        while True:
            try:
                return await read()
            except Unavailable as error:
                if self._here.live.closing:
                    raise Closing from error
                await asyncio.sleep(RETRY)


def _number(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _prediction(change: Change) -> Prediction:
    shared = {name: getattr(change, name) for name in Change.__struct_fields__ if name != "at"}
    return Prediction(**shared, input=Raw(b"{}"))
