"""One live stack for all tests of a run that need one, and a client of its API."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.stack import Stack, running
from tests import sse
from tests.faults.checker import FINAL

MODELS = Path(__file__).parent / "models"
REACHABLE = {"SAMOVAR_WEBHOOK_ALLOW": "127.0.0.1"}
"""Receivers of webhooks that tests run."""
LIMIT = 30.0  # seconds after which what should come will not come

_KEY = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    """Started by whichever folder of tests needs it first, stopped with the run."""
    stash = request.config.stash
    if _KEY not in stash:
        life = ExitStack()
        started = stash[_KEY] = life.enter_context(running(models=[MODELS], environ=REACHABLE))
        until_offered(started, [f"samovar/{folder.name}" for folder in MODELS.iterdir()])
        request.config.add_cleanup(life.close)
    return stash[_KEY]


def until_offered(stack: Stack, models: Iterable[str]) -> None:
    """A stack is ready with the first of its models; these come a moment later. `broken` never does."""
    left = set(models) - {"samovar/broken"}
    deadline = time.monotonic() + LIMIT
    with httpx.Client(base_url=stack.url, headers=stack.headers) as http:
        while left and time.monotonic() < deadline:
            left = {model for model in left if http.get(f"/v1/models/{model}").status_code != 200}
            time.sleep(0.02)
    assert not left, f"these models are not offered: {left}"


@pytest.fixture(scope="session")
async def api(stack: Stack) -> AsyncGenerator["Api"]:
    async with connect(stack.url, stack.headers) as client:
        yield client


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[], Path]:
    """A file for `gated` and `parts` to wait for; calling it opens the gate."""

    def make() -> Path:
        path = tmp_path / "gate"
        path.touch()
        return path

    return make


@pytest.fixture
def closed(tmp_path: Path) -> str:
    """Where that file will be."""
    return str(tmp_path / "gate")


@asynccontextmanager
async def connect(url: str, headers: dict[str, str]) -> AsyncGenerator["Api"]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=65, limits=limits) as http:
        yield Api(http)


class Api:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def create(self, model: str, input: dict[str, Any], **headers: str) -> dict[str, Any]:
        """`Cancel_After="5"` sends the header `Cancel-After`."""
        answer = await self.post(model, input, **headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def run(self, model: str, input: dict[str, Any]) -> dict[str, Any]:
        """Create with `Prefer: wait`, and the whole prediction that comes back."""
        prediction = await self.create(model, input, Prefer="wait")
        assert prediction["status"] in FINAL, prediction
        return prediction

    async def post(self, model: str, input: dict[str, Any], **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(f"/v1/models/samovar/{model}/predictions", json={"input": input}, headers=named)

    async def get(self, id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/predictions/{id}")
        assert answer.is_success, answer.text
        return answer.json()

    async def until(self, id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The prediction, once this holds of it."""
        async with asyncio.timeout(LIMIT):
            while True:
                if holds(prediction := await self.get(id)):
                    return prediction
                await asyncio.sleep(0.01)

    async def listed(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """A prediction on the first page of the list, once there is one of which this holds."""
        async with asyncio.timeout(LIMIT):
            while True:
                page = (await self.http.get("/v1/predictions")).json()
                if found := next(filter(holds, page["results"]), None):
                    return found
                await asyncio.sleep(0.02)

    async def at_gate(self, gate: str) -> dict[str, Any]:
        """The prediction that waits before this gate, if only its creator knows its id."""
        return await self.listed(lambda p: p["input"].get("gate") == gate and p["status"] == "processing")

    async def ended(self, id: str) -> dict[str, Any]:
        return await self.until(id, lambda prediction: prediction["status"] in FINAL)

    async def cancel(self, id: str) -> dict[str, Any]:
        answer = await self.http.post(f"/v1/predictions/{id}/cancel")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stream(self, url: str, *, after: str | None = None) -> AsyncGenerator[sse.Event]:
        """To the end of the stream; without a token, as browsers do."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        request = self.http.build_request("GET", url, headers=headers)
        del request.headers["Authorization"]
        answer = await self.http.send(request, stream=True)
        try:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
            async for event in sse.events(answer.aiter_raw()):
                yield event
        finally:
            await answer.aclose()

    async def streamed(self, url: str, *, after: str | None = None) -> list[sse.Event]:
        async with asyncio.timeout(LIMIT):
            return [event async for event in self.stream(url, after=after)]


def outputs(events: list[sse.Event]) -> list[str]:
    return [event.data for event in events if event.event == "output"]
