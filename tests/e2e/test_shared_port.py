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
from benchmarks.stack import Stack, running
from tests.live import MODELS, REACHABLE, Api, connect, outputs, until_offered

pytestmark = pytest.mark.slow

LIMIT = 30.0
TRIES = 64  # connections that all come to the same one of two: once in 2**63
NAMES = ("gateway", "gateway-2")
CREATED = re.compile(r"^samovar_predictions_created_total (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def shared() -> Generator[Stack]:
    with running(models=[MODELS], environ={**REACHABLE, "SAMOVAR_GATEWAYS": "2"}) as stack:
        until_offered(stack, ["samovar/hello-world", "samovar/gated", "samovar/parts"])
        yield stack


@pytest.fixture
async def both(shared: Stack) -> AsyncGenerator[tuple[Api, Api]]:
    """A client of each gateway: a connection that is kept stays where it came to."""
    async with AsyncExitStack() as stack:
        found: dict[int, Api] = {}
        for _ in range(TRIES):
            api = await stack.enter_async_context(connect(shared.url, shared.headers))
            found.setdefault(await answered_by(shared, api), api)
            if len(found) == 2:
                break
        first, second = found.values()
        yield first, second


async def answered_by(stack: Stack, api: Api) -> int:
    """The process that its connection came to."""
    answer = await api.http.get("/healthz")
    port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    (found,) = [
        one.pid for one in gateways(stack) for way in one.net_connections() if way.raddr and way.raddr[1] == port
    ]
    return found


def gateways(stack: Stack) -> list[psutil.Process]:
    return processes.find(stack, "gateway")


async def test_each_has_a_log_of_its_own(shared: Stack) -> None:
    assert len(gateways(shared)) == 2
    assert {"gateway.log", "gateway-2.log"} <= {path.name for path in (shared.data_dir / "logs").iterdir()}


async def test_each_tells_of_itself_at_its_own_socket(shared: Stack, both: tuple[Api, Api]) -> None:
    before = [await created(shared, name) for name in NAMES]
    await both[0].run("hello-world", {"text": "counted"})
    after = [await created(shared, name) for name in NAMES]
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [0, 1]


async def test_what_one_made_the_other_reads(both: tuple[Api, Api]) -> None:
    one, other = both
    told = await one.run("hello-world", {"text": "both"})
    assert await other.get(told["id"]) == told


async def test_what_one_made_is_streamed_by_the_other(
    both: tuple[Api, Api], closed: str, gate: Callable[[], object]
) -> None:
    one, other = both
    made = await one.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    async with aclosing(other.stream(made["urls"]["stream"])) as events, asyncio.timeout(LIMIT):
        first = await anext(events)
        assert first.data == "a"
        gate()
        assert outputs([event async for event in events]) == ["b", "c"]


async def test_what_one_made_is_canceled_by_the_other(both: tuple[Api, Api], closed: str) -> None:
    one, other = both
    waiting = asyncio.create_task(one.post("gated", {"gate": closed}, Prefer="wait"))
    await other.cancel((await other.at_gate(closed))["id"])
    assert (await waiting).json()["status"] == "canceled"


async def test_clients_go_on_when_one_is_killed_and_it_comes_back(shared: Stack) -> None:
    killed, left = gateways(shared)
    killed.kill()
    await asyncio.to_thread(processes.wait_dead, killed)
    assert left.is_running()
    for _ in range(8):  # whichever of the two they would have come to
        async with connect(shared.url, shared.headers) as api:
            assert (await api.run("hello-world", {"text": "still"}))["output"] == "hello still"
    deadline = time.monotonic() + LIMIT
    while not await is_back(shared):
        assert time.monotonic() < deadline, shared.last_words()
        await asyncio.sleep(0.05)
    assert gateways(shared)[0] == left  # only the other one was started anew


async def is_back(stack: Stack) -> bool:
    """Whether each of the two says at its socket that it is ready."""
    return all([await says_ready(stack, name) for name in NAMES])


async def says_ready(stack: Stack, name: str) -> bool:
    try:
        async with own(stack, name) as http:
            return (await http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def created(stack: Stack, name: str) -> float:
    """Predictions that this one has accepted."""
    async with own(stack, name) as http:
        said = CREATED.search((await http.get("/metrics")).text)
        assert said is not None
        return float(said[1])


def own(stack: Stack, name: str) -> httpx.AsyncClient:
    way = httpx.AsyncHTTPTransport(uds=str(stack.data_dir / f"{name}.sock"))
    return httpx.AsyncClient(transport=way, base_url="http://gateway")
