"""A client with keep-alive connections, which it opens again when the server has ended them."""

from typing import NamedTuple

from benchmarks import wire
from benchmarks.wire import Address, ChunkHandler, Connection, HttpAnswer

EVENTS = "accept: text/event-stream"


class TimedAnswer(NamedTuple):
    """An answer, and when its last byte came."""

    answer: HttpAnswer
    at: float


class Client:
    """A client that sends one request at a time.

    Opening a connection takes time out of the request that needs it.
    """

    def __init__(self, address: Address, token: str | None) -> None:
        self._address = address
        self._token = token
        self._main: Connection | None = None
        self._aside: Connection | None = None

    async def ask(self, request: bytes, on_chunk: ChunkHandler | None = None) -> TimedAnswer:
        """Send a request, and return its answer."""
        connection = self._main
        if connection is None or connection.closed:
            connection = self._main = await Connection.open(self._address)
        return TimedAnswer(await connection.ask(request, on_chunk), connection.at)

    async def ask_aside(self, request: bytes) -> HttpAnswer:
        """Send a request while the other connection waits for an answer."""
        if self._aside is None or self._aside.closed:
            self._aside = await Connection.open(self._address)
        return await self._aside.ask(request)

    def get(self, url: str) -> bytes:
        """Return a request for a stream, by a URL in an answer."""
        return wire.encode_get(*self._at(url), self._token, EVENTS)

    def post(self, url: str) -> bytes:
        """Return a POST without a body, by a URL in an answer."""
        return wire.encode_post(*self._at(url), b"", self._token)

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._main, self._aside):
            if connection is not None:
                connection.close()

    def _at(self, url: str) -> tuple[Address, str]:
        """Return the address and path of a URL.

        The server may name itself differently than we do; the connection is the same.
        """
        return self._address._replace(path=""), url[url.index("/", len("https://")) :]
