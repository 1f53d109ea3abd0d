"""Any gateway can answer for any prediction: a second one, and the first one after it was killed."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.stack import SAMOVAR, Stack, free_port, is_ready
from tests.live import Api, connect, outputs

LIMIT = 60.0


@pytest.fixture(scope="module")
async def second(stack: Stack) -> AsyncGenerator[Api]:
    """A second gateway on the same database and the same NATS."""
    with run_second_gateway(stack) as url:
        async with connect(url, stack.headers) as api:
            yield api


@contextmanager
def run_second_gateway(stack: Stack) -> Generator[str]:
    """Run a second gateway with the settings of the first one, on another port."""
    (first,) = processes.find(stack, "gateway")
    port = free_port()
    settings = {name: value for name, value in first.environ().items() if name.startswith("SAMOVAR_")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    log = stack.log.with_name("second.log")
    with log.open("wb") as file:
        env = {**inherited, **settings, "SAMOVAR_PORT": str(port), "SAMOVAR_HOST": "127.0.0.1"}
        process = subprocess.Popen([str(SAMOVAR), "gateway"], env=env, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + LIMIT
        while not is_ready(f"http://127.0.0.1:{port}"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()  # noqa: PT018
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def url_on(api: Api, url: str) -> str:
    """Return the same path on another gateway."""
    return str(api.http.base_url).rstrip("/") + "/v1/" + url.split("/v1/", 1)[1]


async def test_a_second_gateway_returns_the_same(api: Api, second: Api) -> None:
    settings = await api.run("hello-world", {"text": "both"})
    other = await second.get(settings["id"])
    assert other | {"urls": 0} == settings | {"urls": 0}


async def test_a_running_prediction_can_be_followed_through_a_second_gateway(
    api: Api, second: Api, closed: str, gate: Callable[[], Path]
) -> None:
    created = await api.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    async with aclosing(second.stream(url_on(second, created["urls"]["stream"]))) as events, asyncio.timeout(30):
        first = await anext(events)
        assert first.data == "a"
        gate()
        assert outputs([event async for event in events]) == ["b", "c"]
    assert outputs(await api.collect_stream(created["urls"]["stream"], after=first.id)) == ["b", "c"]


async def test_a_prediction_can_be_canceled_through_a_second_gateway(api: Api, second: Api, closed: str) -> None:
    waiting = asyncio.create_task(api.post("gated", {"gate": closed}, Prefer="wait"))
    waiting_prediction = await second.wait_until_at_gate(closed)
    await second.cancel(waiting_prediction["id"])
    assert (await waiting).json()["status"] == "canceled"


async def test_a_stream_resumes_after_the_gateway_was_killed(
    api: Api, stack: Stack, closed: str, gate: Callable[[], Path]
) -> None:
    created = await api.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    async with aclosing(api.stream(created["urls"]["stream"])) as events:
        first = await anext(events)
        for gateway in processes.find(stack, "gateway"):
            gateway.kill()
            await asyncio.to_thread(processes.wait_until_dead, gateway)
    await asyncio.to_thread(stack.wait_ready)
    gate()
    assert outputs(await api.collect_stream(created["urls"]["stream"], after=first.id)) == ["b", "c"]
    assert (await api.wait_until_final(created["id"]))["output"] == ["a", "b", "c"]
