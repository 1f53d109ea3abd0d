"""Predictions and their streams, asked for by a load generator's connections."""

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
WARM: Final = 90.0  # seconds
SKEW: Final = time.time() - time.perf_counter()
"""What makes a moment of `wire` one of the models' clocks: both are of this host."""


class Urls(Struct, frozen=True):
    get: str
    stream: str | None = None


class Created(Struct, frozen=True):
    id: str
    urls: Urls


class Ended(Struct, frozen=True):
    status: str
    error: str | None = None


class Client:
    """What it asks for is asked of one stack."""

    def __init__(self, url: str, token: str) -> None:
        self.address = Address.of(url)
        self._base = url
        self._token = token

    @classmethod
    def of(cls, stack: Stack) -> Self:
        return cls(stack.url, stack.token)

    async def connected(self, count: int) -> list[Connection]:
        return [await Connection.open(self.address) for _ in range(count)]

    def post(self, model: str, input: dict[str, Any], *headers: str) -> bytes:
        body = json.encode({"input": input})
        return wire.post(self.address, f"/v1/models/samovar/{model}/predictions", body, self._token, *headers)

    def stream(self, created: Created) -> bytes:
        assert created.urls.stream is not None
        return wire.get(self.address, created.urls.stream.removeprefix(self._base), None, "accept: text/event-stream")

    async def create(self, connection: Connection, request: bytes) -> Created:
        answer = await connection.ask(request)
        assert answer.status == 201, answer
        return json.decode(answer.body, type=Created)

    async def warm(self, model: str, input: dict[str, Any]) -> None:
        """Returns once a prediction has been answered; a stack is ready before its runner has said what it has."""
        (connection,) = await self.connected(1)
        async with asyncio.timeout(WARM):
            while (answer := await connection.ask(self.post(model, input, "prefer: wait"))).status != 201:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        connection.close()
        ended = json.decode(answer.body, type=Ended)
        assert ended.status == "succeeded", f"{model} {ended.status}: {ended.error}"

    async def known(self, model: str) -> None:
        """Returns once the gateway has heard of it."""
        (connection,) = await self.connected(1)
        ask = wire.get(self.address, f"/v1/models/samovar/{model}", self._token)
        async with asyncio.timeout(WARM):
            while (await connection.ask(ask)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        connection.close()

    async def create_all(self, requests: Iterable[bytes], clients: int = 32) -> list[Created]:
        connections = await self.connected(clients)
        left = iter(requests)
        made: list[Created] = []

        async def some(connection: Connection) -> None:
            for request in left:
                made.append(await self.create(connection, request))

        await asyncio.gather(*map(some, connections))
        for connection in connections:
            connection.close()
        return made


class Heard:
    """One stream's pieces, kept as they came; they are taken apart once nobody waits for it."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []

    def __call__(self, at: float, piece: bytes) -> None:
        self.pieces.append((at, piece))

    def outputs(self) -> list[tuple[float, str]]:
        """When each output event was there, in Unix seconds, and its data."""
        found: list[tuple[float, str]] = []
        rest = b""
        for at, piece in self.pieces:
            *whole, rest = (rest + piece).split(b"\n\n")
            found += [(at + SKEW, each.partition(DATA)[2].decode()) for each in whole if each.startswith(OUTPUT)]
        return found


def in_order(data: Iterable[str]) -> bool:
    """Whether ticks are those of one `ticker`, from its first on."""
    return all(int(each.partition(" ")[0]) == number for number, each in enumerate(data))


def ages(outputs: Iterable[tuple[float, str]]) -> list[float]:
    """Milliseconds from the model's yield to the client's hands."""
    return [(at - yielded(data)) * 1000 for at, data in outputs]


def yielded(data: str) -> float:
    """When the model did, in Unix seconds: what it says ends in that, in nanoseconds."""
    return int(data.rpartition(" ")[2]) / 1e9
