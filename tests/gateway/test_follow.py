import asyncio
from collections.abc import Callable, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from bus.client import Client
from gateway.errors import Unavailable
from gateway.events.follower import Follower
from gateway.events.large_values import Values
from gateway.events.subscriptions import Closing, Live
from schemas.prediction import Prediction

ID = "abcd" + "0" * 22


class Away:
    """A database that does not answer; nothing has been told."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        raise Unavailable

    async def history(self, id: str) -> list:
        return []

    async def read(self, key: str) -> bytes:
        raise AssertionError

    def told(self, p: Prediction) -> None:
        raise AssertionError

    def kept(self, id: str) -> None:
        return None


class Queued(Away):
    """A prediction that nothing has been said of."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        return Prediction(id=id, account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=datetime.now(UTC))


VALUES = Values(Away())


async def test_one_who_is_stirred_gets_the_same_state_again():
    queued, stirs = Queued(), list[Callable[[], None]]()

    @contextmanager
    def stirring(stir: Callable[[], None]) -> Generator[None]:
        stirs.append(stir)
        try:
            yield
        finally:
            stirs.remove(stir)

    live = Live(Client(), ID[:4], lambda *_: None)
    async with aclosing(Follower(queued, queued, live, queued, VALUES).watch(ID, stirring)) as states:
        first = await anext(states)
        stirs[0]()
        stirs[0]()
        assert await anext(states) == first
        again = asyncio.ensure_future(anext(states))
        await asyncio.sleep(0)
        assert not again.done()  # stirred twice before it looked, it is told once
        stirs[0]()
        assert await again == first
    assert stirs == []


async def test_nobody_waits_for_a_database_in_a_gateway_that_stops():
    away = Away()
    live = Live(Client(), "abcd", lambda *_: None)
    live.close()
    with pytest.raises(Closing):
        await anext(Follower(away, away, live, away, VALUES).watch(ID))
