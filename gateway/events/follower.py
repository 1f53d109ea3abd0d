"""A prediction as it stands, and as it goes on: the record first, then what has been said since."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

import structlog

from gateway.broker import Failed
from gateway.errors import NoFiles, Unavailable
from gateway.events.large_values import Values, lacking
from gateway.events.subscriptions import Closing, Ear, Live
from schemas.events import Event, Final
from schemas.prediction import FINAL, Gap, Prediction, advance, replay

log = structlog.get_logger("samovar.follow")

RETRY = 0.25  # seconds until a broker that did not answer is asked again


class Record(Protocol):
    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...


class Told(Protocol):
    async def history(self, id: str) -> list[Event]: ...


class Ends(Protocol):
    """Who sees to it that an end which somebody is told of stays true."""

    def told(self, p: Prediction) -> None: ...
    def kept(self, id: str) -> Prediction | None: ...


Stirring = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Calls what it is given whenever something changes that is told with a prediction, and is no part of it."""


class Follower:
    def __init__(self, record: Record, told: Told, live: Live, ends: Ends, values: Values) -> None:
        self._record = record
        self._told = told
        self._live = live
        self._ends = ends
        self._values = values

    async def read(self, id: str, account: int | None = None) -> Prediction | None:
        """As it stands now: what anyone has been told can be read."""
        p = self._ends.kept(id)
        if p is None or account not in {None, p.account}:
            p = await self._record.get(id, account)
        return await self._caught_up(p) if p is not None else None

    async def page(self, ps: list[Prediction]) -> list[Prediction]:
        """The same for rows of a list, most of which have ended."""
        shown = [self._ends.kept(p.id) or p for p in ps]
        going_on = [number for number, p in enumerate(shown) if p.status not in FINAL]
        caught_up = await asyncio.gather(*(self._caught_up(shown[number]) for number in going_on))
        for number, p in zip(going_on, caught_up, strict=True):
            shown[number] = p
        return shown

    async def watch(self, id: str, stirring: Stirring | None = None) -> AsyncGenerator[Prediction]:
        """Every state from now on, until the final one; the same again when it is stirred.

        Ends at once for a prediction that is not there.
        """
        with self._live.listen(id) as ear, stirring(ear.stir) if stirring else nullcontext():
            p = await self._read_surely(id)
            while p is not None:
                yield p
                if p.status in FINAL:
                    return
                p = await self._next(p, ear)

    async def outcome(self, p: Prediction, ear: Ear) -> Prediction:
        """The final state of a prediction that has just been made, and has been listened to since before."""
        while p.status not in FINAL:
            p = await self._next(p, ear) or p
        return p

    async def _next(self, p: Prediction, ear: Ear) -> Prediction | None:
        heard = await ear.next()
        if heard is None:
            return await self._read_surely(p.id)
        try:
            if any(map(lacking, heard)):
                heard = await self._values.placed(heard)
            for event in heard:
                p = advance(p, event)
        except (Gap, NoFiles):
            return await self._read_surely(p.id)
        return self._seen(p)

    async def _read_surely(self, id: str) -> Prediction | None:
        """Like `read`, but waits for a record or a broker that is away: a stream must not show less than was said.

        Raises `Closing` rather than wait on when the gateway is about to stop.
        """
        while True:
            try:
                p = self._ends.kept(id) or await self._record.get(id)
                if p is None or p.status in FINAL:
                    return p
                return self._seen(catch_up(p, await self._history(id)))
            except (Failed, Unavailable, NoFiles) as error:
                log.debug("history_not_read", id=id, error=str(error))
                if self._live.closing:
                    raise Closing from error
                await asyncio.sleep(RETRY)

    async def _caught_up(self, p: Prediction) -> Prediction:
        p = self._ends.kept(p.id) or p
        if p.status in FINAL:
            return p
        try:
            return self._seen(catch_up(p, await self._history(p.id)))
        except (Failed, NoFiles):
            # An end that was told may have come into the record since we looked there.
            return await self._record.get(p.id) or p

    async def _history(self, id: str) -> list[Event]:
        """Without events whose values are gone: what counts on them is not believed, either."""
        said = await self._told.history(id)
        try:
            return await self._values.placed(said)
        except Gap:
            return [event for event in said if not lacking(event)]

    def _seen(self, p: Prediction) -> Prediction:
        if p.status in FINAL:
            self._ends.told(p)
        return p


def catch_up(p: Prediction, said: list[Event]) -> Prediction:
    """A final event that lacks some of what it counts on is not believed: the recorder has such a run started over."""
    try:
        return replay(p, said)
    except Gap:
        with suppress(Gap):
            return replay(p, [event for event in said if not isinstance(event, Final)])
        return p
