import asyncio
from collections.abc import Callable, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from bus.client import Client
from gateway.errors import Unavailable
from gateway.events.follower import Follower
from gateway.events.in_flight import InFlight
from gateway.events.large_values import LargeValues
from gateway.events.live_events import LiveEvents
from gateway.events.subscriptions import Shutdown
from schemas.events import Final
from schemas.prediction import Prediction

ID = "abcd" + "0" * 22


class Away:
    """A database that does not answer; nothing has been told."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        raise Unavailable

    async def read_events(self, id: str) -> list:
        return []

    async def read(self, key: str) -> bytes:
        raise AssertionError

    def record_outcome(self, p: Prediction) -> None:
        raise AssertionError

    def record_soon(self, event: Final) -> None:
        raise AssertionError


class Queued(Away):
    """A prediction that nothing has been said of."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        return Prediction(id=id, account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=datetime.now(UTC))


VALUES = LargeValues(Away())


async def test_a_notified_subscriber_gets_the_same_state_again():
    queued, callbacks = Queued(), list[Callable[[], None]]()

    @contextmanager
    def changes(callback: Callable[[], None]) -> Generator[None]:
        callbacks.append(callback)
        try:
            yield
        finally:
            callbacks.remove(callback)

    async with aclosing(follower(queued).watch(ID, changes)) as states:
        first = await anext(states)
        callbacks[0]()
        callbacks[0]()
        assert await anext(states) == first
        again = asyncio.ensure_future(anext(states))
        await asyncio.sleep(0)
        assert not again.done()  # stirred twice before it looked, it is told once
        callbacks[0]()
        assert await again == first
    assert callbacks == []


async def test_nobody_waits_for_a_database_in_a_gateway_that_stops():
    away = Away()
    in_flight = InFlight(ID[:4])
    in_flight.close()
    with pytest.raises(Shutdown):
        await anext(follower(away, in_flight).watch(ID))


def follower(away: Away, in_flight: InFlight | None = None) -> Follower:
    in_flight = in_flight or InFlight(ID[:4])
    return Follower(away, away, in_flight, LiveEvents(Client(), in_flight, away), away, VALUES)
