"""A client of the API on the load generator's connections: predictions and their streams."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final, Self

from msgspec import Struct, json

from benchmarks import wire
from benchmarks.stack import Stack
from benchmarks.wire import Address, Connection

OUTPUT: Final = b"event: output\n"
DATA: Final = b"\ndata: "
WARM_LIMIT: Final = 90.0  # seconds
CLOCK_OFFSET: Final = time.time() - time.perf_counter()
"""What turns a time of `wire` into one of the models' clock; both run on this host."""


class Urls(Struct, frozen=True):
    """The URLs of a prediction."""

    get: str
    stream: str | None = None


class CreatedPrediction(Struct, frozen=True):
    """A prediction that was just created."""

    id: str
    urls: Urls


class EndedPrediction(Struct, frozen=True):
    """The end of a prediction."""

    status: str
    error: str | None = None


class Client:
    """A client of one stack."""

    def __init__(self, url: str, token: str) -> None:
        self.address = Address.parse(url)
        self._base = url
        self._token = token

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Return a client of this stack."""
        return cls(stack.url, stack.token)

    async def connected(self, count: int) -> list[Connection]:
        """Open so many connections."""
        return [await Connection.open(self.address) for _ in range(count)]

    def post(self, model: str, input: dict[str, Any], *headers: str) -> bytes:
        """Return the bytes of a create."""
        body = json.encode({"input": input})
        return wire.encode_post(self.address, f"/v1/models/samovar/{model}/predictions", body, self._token, *headers)

    def stream(self, created: CreatedPrediction) -> bytes:
        """Return the bytes of a request for a prediction's stream."""
        assert created.urls.stream is not None
        return wire.encode_get(
            self.address, created.urls.stream.removeprefix(self._base), None, "accept: text/event-stream"
        )

    async def create(self, connection: Connection, request: bytes) -> CreatedPrediction:
        """Create a prediction."""
        answer = await connection.ask(request)
        assert answer.status == 201, answer
        return json.decode(answer.body, type=CreatedPrediction)

    async def warm(self, model: str, input: dict[str, Any]) -> None:
        """Wait until a prediction has been answered; a stack is ready before its runner has registered."""
        (connection,) = await self.connected(1)
        async with asyncio.timeout(WARM_LIMIT):
            while (answer := await connection.ask(self.post(model, input, "prefer: wait"))).status != 201:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        connection.close()
        ended = json.decode(answer.body, type=EndedPrediction)
        assert ended.status == "succeeded", f"{model} {ended.status}: {ended.error}"

    async def known(self, model: str) -> None:
        """Wait until the gateway knows the model."""
        (connection,) = await self.connected(1)
        ask = wire.encode_get(self.address, f"/v1/models/samovar/{model}", self._token)
        async with asyncio.timeout(WARM_LIMIT):
            while (await connection.ask(ask)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        connection.close()

    async def create_all(self, requests: Iterable[bytes], clients: int = 32) -> list[CreatedPrediction]:
        """Create predictions by several connections at once."""
        connections = await self.connected(clients)
        remaining = iter(requests)
        predictions: list[CreatedPrediction] = []

        async def some(connection: Connection) -> None:
            for request in remaining:
                predictions.append(await self.create(connection, request))

        await asyncio.gather(*map(some, connections))
        for connection in connections:
            connection.close()
        return predictions


class StreamPieces:
    """The pieces of one stream with their times; they are parsed once nobody waits for it."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []

    def __call__(self, at: float, piece: bytes) -> None:
        self.pieces.append((at, piece))

    def outputs(self) -> list[tuple[float, str]]:
        """Return when each output event arrived, in Unix seconds, and its data."""
        outputs: list[tuple[float, str]] = []
        rest = b""
        for at, piece in self.pieces:
            *whole, rest = (rest + piece).split(b"\n\n")
            outputs += [
                (at + CLOCK_OFFSET, each.partition(DATA)[2].decode()) for each in whole if each.startswith(OUTPUT)
            ]
        return outputs


def are_in_order(data: Iterable[str]) -> bool:
    """Return whether ticks are those of one `ticker`, from its first on."""
    return all(int(each.partition(" ")[0]) == number for number, each in enumerate(data))


def event_ages(outputs: Iterable[tuple[float, str]]) -> list[float]:
    """Return the milliseconds from the model's yield to the client, of each event."""
    return [(at - yield_time(data)) * 1000 for at, data in outputs]


def yield_time(data: str) -> float:
    """Return when the model yielded the data, in Unix seconds; the data ends in nanoseconds."""
    return int(data.rpartition(" ")[2]) / 1e9
