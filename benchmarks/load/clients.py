"""A client: connections that are kept, and opened anew when the server has ended them."""

from typing import NamedTuple

from benchmarks import wire
from benchmarks.wire import Address, Answer, Connection, Hear

EVENTS = "accept: text/event-stream"


class Arrived(NamedTuple):
    answer: Answer
    at: float
    """When its last byte came."""


class Client:
    """One request at a time. Opening a connection takes time out of the request that needs it."""

    def __init__(self, address: Address, token: str | None) -> None:
        self._address = address
        self._token = token
        self._main: Connection | None = None
        self._aside: Connection | None = None

    async def ask(self, request: bytes, hear: Hear | None = None) -> Arrived:
        connection = self._main
        if connection is None or connection.closed:
            connection = self._main = await Connection.open(self._address)
        return Arrived(await connection.ask(request, hear), connection.at)

    async def ask_aside(self, request: bytes) -> Answer:
        """While the other connection waits for an answer."""
        if self._aside is None or self._aside.closed:
            self._aside = await Connection.open(self._address)
        return await self._aside.ask(request)

    def get(self, url: str) -> bytes:
        """A stream that the server told of."""
        return wire.get(*self._at(url), self._token, EVENTS)

    def post(self, url: str) -> bytes:
        """Something that the server told of, and that wants no more than to be asked."""
        return wire.post(*self._at(url), b"", self._token)

    def close(self) -> None:
        for connection in (self._main, self._aside):
            if connection is not None:
                connection.close()

    def _at(self, url: str) -> tuple[Address, str]:
        """As the server names itself, which may be under another name than ours; the connection is the same."""
        return self._address._replace(path=""), url[url.index("/", len("https://")) :]
