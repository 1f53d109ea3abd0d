"""An instance through an agent on a real broker: concurrency, health, and files."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from msgspec import json

from runners.settings import Settings
from schemas.events import Canceled, Failed, Started, Succeeded
from tests.runners.conftest import FakeGateway, eventually, running_agent
from tests.runners.pushes import log_of

SLOTS = """
import asyncio, os
from cog import BasePredictor, concurrent

class Predictor(BasePredictor):
    async def setup(self):
        self.met = asyncio.Event()
        self.here = 0

    @concurrent(max=2)
    async def predict(self, who: str, do: str = "meet") -> str:
        self.here += 1
        print(who, "beside", self.here - 1)
        if self.here == 2:
            self.met.set()
        try:
            if not os.path.exists("crashed") and do in ("meet", "crash"):
                await self.met.wait()
            if not os.path.exists("crashed") and do == "crash":
                open("crashed", "w").close()
                os._exit(3)
            await asyncio.sleep(1000 if do == "wait" else 0)
            return who
        finally:
            self.here -= 1
"""
ILL = """
class Predictor:
    def setup(self): print("loading")
    def predict(self) -> str: return "well"
    def healthcheck(self): return False
"""

Serve = Callable[[str], AbstractAsyncContextManager[FakeGateway]]


@pytest.fixture
def serve(gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path) -> Serve:
    """An agent that offers a predictor as `it`."""

    @asynccontextmanager
    async def serving(code: str) -> AsyncGenerator[FakeGateway]:
        folder = tmp_path / "it"
        folder.mkdir()
        (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
        (folder / "predict.py").write_text(code)
        async with running_agent(settings, nats_url=nats_url, models=(str(folder),)):
            await gateway.wait_until(lambda: "it" in gateway.versions)
            yield gateway

    return serving


async def test_concurrent_jobs_run_side_by_side(serve: Serve) -> None:
    """Neither could end without the other."""
    async with serve(SLOTS) as gateway:
        ids = [await gateway.submit("it", who=who) for who in "ab"]
        finals = [await gateway.final(id) for id in ids]
    assert [(json.decode(final.values[0]), final.log) for final in finals] == [
        ("a", "a beside 0\n"),
        ("b", "b beside 1\n"),
    ]


async def test_a_cancel_does_not_affect_a_concurrent_job(serve: Serve) -> None:
    async with serve(SLOTS) as gateway:
        waiting, other = [await gateway.submit("it", who=who, do="wait") for who in "ab"]
        await gateway.wait_until(lambda: gateway.events(waiting, Started) and gateway.events(other, Started))
        await gateway.cancel(waiting)
        assert isinstance(await gateway.final(waiting), Canceled)
        last = await gateway.submit("it", who="c", do="go")
        assert isinstance(await gateway.final(last), Succeeded)
        assert not gateway.finals(other)
        await gateway.cancel(other)
        assert isinstance(await gateway.final(other), Canceled)


async def test_jobs_that_shared_a_dead_worker_run_again_alone(serve: Serve) -> None:
    async with serve(SLOTS) as gateway:
        ids = [await gateway.submit("it", who="a", do="crash"), await gateway.submit("it", who="b")]
        finals = [await gateway.final(id) for id in ids]
    assert all(isinstance(final, Succeeded) and final.run is not None and final.run.attempt == 2 for final in finals)
    assert [final.log for final in finals] == ["a beside 0\n", "b beside 0\n"]


async def test_jobs_of_an_unhealthy_worker_fail(serve: Serve) -> None:
    async with serve(ILL) as gateway:
        final = await gateway.final(await gateway.submit("it"))
    assert isinstance(final, Failed)
    assert (final.error, final.log) == ("setup failed: healthcheck returned False", "loading\n")


async def test_a_worker_leaves_no_files_behind(serve: Serve, tmp_path: Path) -> None:
    code = "from cog import Path\ndef predict(x: Path) -> Path:\n    print(x)\n    return x\n"
    async with serve(code.replace("predict(", "Predictor(")) as gateway:
        final = await gateway.final(await gateway.submit("it", x="data:text/plain,hello"))
        home = log_of(gateway, final.id).strip().rsplit("/", 3)[0]
        assert isinstance(final, Succeeded)
        assert final.files
        assert "worker-" in home
    await eventually(lambda: asyncio.to_thread(lambda: not os.path.exists(home)))
