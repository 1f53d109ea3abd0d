"""One live stack for all tests of a run that need one, and a client of its API."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.stack import Stack, running_stack
from tests import sse
from tests.faults.checker import FINAL

MODELS = Path(__file__).parent / "models"
LOCAL_WEBHOOKS = {"SAMOVAR_WEBHOOK_ALLOW": "127.0.0.1"}
"""Allows webhooks to the receivers that tests run."""
TIMEOUT = 30.0  # seconds

_KEY = pytest.StashKey[Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    """The live stack: the first test that needs it starts it, and it stops with the run."""
    stash = request.config.stash
    if _KEY not in stash:
        exits = ExitStack()
        started = stash[_KEY] = exits.enter_context(running_stack(models=[MODELS], environ=LOCAL_WEBHOOKS))
        wait_until_listed(started, [f"samovar/{folder.name}" for folder in MODELS.iterdir()])
        request.config.add_cleanup(exits.close)
    return stash[_KEY]


def wait_until_listed(stack: Stack, models: Iterable[str]) -> None:
    """Wait until the API lists these models: a stack is ready with the first of them. `broken` never is."""
    missing = set(models) - {"samovar/broken"}
    deadline = time.monotonic() + TIMEOUT
    with httpx.Client(base_url=stack.url, headers=stack.headers) as http:
        while missing and time.monotonic() < deadline:
            missing = {model for model in missing if http.get(f"/v1/models/{model}").status_code != 200}
            time.sleep(0.02)
    assert not missing, f"these models are not listed: {missing}"


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
    """The path where `gate` creates its file."""
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
        """Create a prediction. `Cancel_After="5"` sends the header `Cancel-After`."""
        answer = await self.post(model, input, **headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def run(self, model: str, input: dict[str, Any]) -> dict[str, Any]:
        """Create a prediction with `Prefer: wait`, and return it once it is final."""
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

    async def wait_until(self, id: str, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the prediction once it matches."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                if matches(prediction := await self.get(id)):
                    return prediction
                await asyncio.sleep(0.01)

    async def wait_until_listed(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return a prediction on the first page of the list, once one matches."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                page = (await self.http.get("/v1/predictions")).json()
                if match := next(filter(matches, page["results"]), None):
                    return match
                await asyncio.sleep(0.02)

    async def wait_until_at_gate(self, gate: str) -> dict[str, Any]:
        """Return the prediction that waits at this gate, for tests that do not know its id."""
        return await self.wait_until_listed(lambda p: p["input"].get("gate") == gate and p["status"] == "processing")

    async def wait_until_final(self, id: str) -> dict[str, Any]:
        return await self.wait_until(id, lambda prediction: prediction["status"] in FINAL)

    async def cancel(self, id: str) -> dict[str, Any]:
        answer = await self.http.post(f"/v1/predictions/{id}/cancel")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stream(self, url: str, *, after: str | None = None) -> AsyncGenerator[sse.Event]:
        """Yield the events to the end of the stream; without a token, as browsers do."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        request = self.http.build_request("GET", url, headers=headers)
        del request.headers["Authorization"]
        answer = await self.http.send(request, stream=True)
        try:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
            async for event in sse.parse_events(answer.aiter_raw()):
                yield event
        finally:
            await answer.aclose()

    async def collect_stream(self, url: str, *, after: str | None = None) -> list[sse.Event]:
        async with asyncio.timeout(TIMEOUT):
            return [event async for event in self.stream(url, after=after)]


def outputs(events: list[sse.Event]) -> list[str]:
    return [event.data for event in events if event.event == "output"]
