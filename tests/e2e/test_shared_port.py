"""Two gateways at one port, as `samovar up --gateways 2` starts them: whichever a connection comes to can answer."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, aclosing

import httpx
import psutil
import pytest

from benchmarks import processes
from benchmarks.stack import Stack, running_stack
from tests.live import LOCAL_WEBHOOKS, MODELS, Api, connect, outputs, wait_until_listed

pytestmark = pytest.mark.slow

LIMIT = 30.0
TRIES = 64  # connections that all come to the same one of two: once in 2**63
NAMES = ("gateway", "gateway-2")
CREATED = re.compile(r"^samovar_predictions_created_total (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def shared() -> Generator[Stack]:
    with running_stack(models=[MODELS], environ={**LOCAL_WEBHOOKS, "SAMOVAR_GATEWAYS": "2"}) as stack:
        wait_until_listed(stack, ["samovar/hello-world", "samovar/gated", "samovar/parts"])
        yield stack


@pytest.fixture
async def both(shared: Stack) -> AsyncGenerator[tuple[Api, Api]]:
    """A client of each gateway: a connection stays with the gateway that accepted it."""
    async with AsyncExitStack() as stack:
        clients: dict[int, Api] = {}
        for _ in range(TRIES):
            api = await stack.enter_async_context(connect(shared.url, shared.headers))
            clients.setdefault(await find_answering_gateway(shared, api), api)
            if len(clients) == 2:
                break
        first, second = clients.values()
        yield first, second


async def find_answering_gateway(stack: Stack, api: Api) -> int:
    """Return the pid of the gateway that accepted the client's connection."""
    answer = await api.http.get("/healthz")
    port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    (pid,) = [
        one.pid
        for one in gateways(stack)
        for connection in one.net_connections()
        if connection.raddr and connection.raddr[1] == port
    ]
    return pid


def gateways(stack: Stack) -> list[psutil.Process]:
    return processes.find(stack, "gateway")


async def test_each_has_a_log_of_its_own(shared: Stack) -> None:
    assert len(gateways(shared)) == 2
    assert {"gateway.log", "gateway-2.log"} <= {path.name for path in (shared.data_dir / "logs").iterdir()}


async def test_each_reports_its_own_metrics_at_its_own_socket(shared: Stack, both: tuple[Api, Api]) -> None:
    before = [await create_prediction(shared, name) for name in NAMES]
    await both[0].run("hello-world", {"text": "counted"})
    after = [await create_prediction(shared, name) for name in NAMES]
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [0, 1]


async def test_one_gateway_reads_what_the_other_created(both: tuple[Api, Api]) -> None:
    one, other = both
    prediction = await one.run("hello-world", {"text": "both"})
    assert await other.get(prediction["id"]) == prediction


async def test_one_gateway_streams_what_the_other_created(
    both: tuple[Api, Api], closed: str, gate: Callable[[], object]
) -> None:
    one, other = both
    created = await one.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    async with aclosing(other.stream(created["urls"]["stream"])) as events, asyncio.timeout(LIMIT):
        first = await anext(events)
        assert first.data == "a"
        gate()
        assert outputs([event async for event in events]) == ["b", "c"]


async def test_one_gateway_cancels_what_the_other_created(both: tuple[Api, Api], closed: str) -> None:
    one, other = both
    waiting = asyncio.create_task(one.post("gated", {"gate": closed}, Prefer="wait"))
    await other.cancel((await other.wait_until_at_gate(closed))["id"])
    assert (await waiting).json()["status"] == "canceled"


async def test_clients_go_on_when_one_is_killed_and_it_comes_back(shared: Stack) -> None:
    killed, survivor = gateways(shared)
    killed.kill()
    await asyncio.to_thread(processes.wait_until_dead, killed)
    assert survivor.is_running()
    for _ in range(8):  # whichever of the two they would have come to
        async with connect(shared.url, shared.headers) as api:
            assert (await api.run("hello-world", {"text": "still"}))["output"] == "hello still"
    deadline = time.monotonic() + LIMIT
    while not await is_back(shared):
        assert time.monotonic() < deadline, shared.last_words()
        await asyncio.sleep(0.05)
    assert gateways(shared)[0] == survivor  # only the other one was started anew


async def is_back(stack: Stack) -> bool:
    """Whether each of the two reports at its socket that it is ready."""
    return all([await is_gateway_ready(stack, name) for name in NAMES])


async def is_gateway_ready(stack: Stack, name: str) -> bool:
    try:
        async with connect_to(stack, name) as http:
            return (await http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def create_prediction(stack: Stack, name: str) -> float:
    """Return how many predictions this gateway has accepted."""
    async with connect_to(stack, name) as http:
        match = CREATED.search((await http.get("/metrics")).text)
        assert match is not None
        return float(match[1])


def connect_to(stack: Stack, name: str) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(stack.data_dir / f"{name}.sock"))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
