import pytest
from nats.aio.client import Client

from gateway.errors import Unavailable
from gateway.follow import Follower
from gateway.live import Closing, Live
from schemas.prediction import Prediction


class Away:
    """A database that does not answer; nothing has been told."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        raise Unavailable

    async def history(self, id: str) -> list:
        return []

    def told(self, p: Prediction) -> None:
        raise AssertionError

    def kept(self, id: str) -> None:
        return None


async def test_nobody_waits_for_a_database_in_a_gateway_that_stops():
    away = Away()
    live = Live(Client(), "abcd", lambda *_: None)
    live.close()
    with pytest.raises(Closing):
        await anext(Follower(away, away, live, away).watch("abcd" + "0" * 22))
