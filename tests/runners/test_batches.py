"""Batches of real jobs: through a worker, and through an agent on a real broker."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from runners.batching.batcher import Batcher
from runners.batching.call import Call
from runners.settings import Settings
from runners.worker.frames import Done, Item
from schemas.events import Canceled, Crashed, Failed, Final, Output, Started, Succeeded
from tests.runners.conftest import FakeGateway, eventually, running_agent, worker_processes
from tests.runners.pushes import log_of
from tests.runners.test_worker_process import running_worker, write_program

SIXTEEN = """
import os, time
class Predictor:
    max_batch_size = 16
    max_batch_wait_ms = 5000
    def predict(self, n: int, do: str = "") -> list:
        print("alone")
        if do == "die": os._exit(3)
        if do == "raise": raise ValueError(f"{n} is poison")
        return [n * 2, 1]
    def predict_batch(self, inputs):
        print("together")
        while os.path.exists("wait"): time.sleep(0.001)
        if any(i["do"] == "die" for i in inputs): os._exit(3)
        if any(i["do"] == "raise" for i in inputs): raise RuntimeError("somewhere in here")
        return [[i["n"] * 2, len(inputs)] for i in inputs]
"""
STREAM = """
import os, time
from typing import Iterator
class Predictor:
    max_batch_size = 3
    max_batch_wait_ms = 5000
    def predict(self, text: str) -> Iterator[str]:
        print("alone")
        for c in text:
            if c == "!": raise ValueError("no shouting")
            yield c
    def predict_batch(self, inputs):
        for step in range(4):
            if any(i["text"][step] == "!" for i in inputs): raise RuntimeError("somebody shouts")
            yield [None if i["text"][step] == "-" else i["text"][step] for i in inputs]
            while step == 1 and os.path.exists("wait"): time.sleep(0.001)
"""
TIMED = """
import time
class Predictor:
    max_batch_size = 8
    max_batch_wait_ms = 60000
    def predict(self, n: int): ...
    def predict_batch(self, inputs):
        began = time.monotonic()
        time.sleep(0.02)
        return [[began, time.monotonic(), len(inputs)]] * len(inputs)
"""
SIZES = """
import os
class Predictor:
    max_batch_size = 3
    max_batch_wait_ms = 5000
    batch_by = "size"
    def predict(self, n: int, size: int = 512) -> list:
        return [n, [size]]
    def predict_batch(self, inputs):
        return [[i["n"], [j["size"] for j in inputs]] for i in inputs]
"""

HUNGRY = """
class Predictor:
    max_batch_size = 16
    max_batch_wait_ms = 5000
    def predict(self, n: int) -> int: return 1
    def predict_batch(self, inputs):
        if len(inputs) > 4: raise MemoryError
        return [len(inputs)] * len(inputs)
"""

Serve = Callable[[str], AbstractAsyncContextManager[FakeGateway]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "it"
    path.mkdir()
    return path


@pytest.fixture
def serve(gateway: FakeGateway, nats_url: str, settings: Settings, folder: Path) -> Serve:
    """An agent that offers a predictor as `it`."""

    @asynccontextmanager
    async def serving(code: str) -> AsyncGenerator[FakeGateway]:
        (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
        (folder / "predict.py").write_text(code)
        async with running_agent(settings, nats_url=nats_url, models=(str(folder),)):
            await gateway.wait_until(lambda: "it" in gateway.versions)
            yield gateway

    return serving


async def finals(gateway: FakeGateway, ids: list[str]) -> list[Final]:
    return [await gateway.final(id) for id in ids]


def output(final: Final) -> object:
    assert isinstance(final, Succeeded), final
    (value,) = final.values
    return json.decode(value)


async def test_sixteen_whose_worker_is_killed_have_sixteen_right_answers(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(SIXTEEN) as gateway:
        ids = [await gateway.submit("it", n=n) for n in range(16)]
        await gateway.wait_until(lambda: all(gateway.events(id, Started) for id in ids))
        (worker,) = worker_processes()
        worker.kill()
        await gateway.wait_until(lambda: all(gateway.events(id, Crashed) for id in ids))
        (folder / "wait").unlink()
        ended = await finals(gateway, ids)
        assert [output(final) for final in ended] == [[n * 2, 1] for n in range(16)]
        assert [final.metrics["batch_size"] for final in ended] == [1] * 16
        assert all(len(gateway.finals(id)) == 1 for id in ids)
        await eventually(lambda: _is_empty(gateway))


async def _is_empty(gateway: FakeGateway) -> bool:
    return await gateway.queued() == 0


async def test_one_that_raises_in_a_batch_of_sixteen_fails_alone(serve: Serve) -> None:
    async with serve(SIXTEEN) as gateway:
        ids = [await gateway.submit("it", n=n, do="raise" if n == 5 else "") for n in range(16)]
        ended = await finals(gateway, ids)
    poison = ended.pop(5)
    assert isinstance(poison, Failed)
    assert poison.error == "5 is poison"
    assert "ValueError: 5 is poison" in poison.log
    assert [output(final) for final in ended] == [
        [n * 2, size]
        for n, size in zip((n for n in range(16) if n != 5), [4] * 4 + [1] + [2] * 2 + [8] * 8, strict=True)
    ]
    assert [final.metrics["batch_size"] for final in ended] == [4] * 4 + [1] + [2] * 2 + [8] * 8
    assert not any("poison" in final.log or "somewhere" in final.log for final in ended)


async def test_one_that_kills_its_worker_in_a_batch_of_sixteen_fails_alone(serve: Serve) -> None:
    async with serve(SIXTEEN) as gateway:
        ids = [await gateway.submit("it", n=n, do="die" if n == 5 else "") for n in range(16)]
        ended = await finals(gateway, ids)
        poison = ended.pop(5)
        assert isinstance(poison, Failed)
        assert "died 3 times" in poison.error
        assert [output(final) for final in ended] == [[n * 2, 1] for n in range(16) if n != 5]
        assert [len(gateway.events(id, Crashed)) for id in ids] == [1] * 5 + [2] + [1] * 10


async def test_a_cancel_in_a_batch_leaves_the_others_and_their_worker(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(SIXTEEN) as gateway:
        ids = [await gateway.submit("it", n=n) for n in range(16)]
        await gateway.wait_until(lambda: all(gateway.events(id, Started) for id in ids))
        pids = [worker.pid for worker in worker_processes()]
        await gateway.cancel(ids[3], "enough")
        canceled = await gateway.final(ids[3])
        assert isinstance(canceled, Canceled)
        assert canceled.metrics["batch_size"] == 16
        (folder / "wait").unlink()
        assert [output(final) for final in await finals(gateway, ids[:3] + ids[4:])] == [
            [n * 2, 16] for n in range(16) if n != 3
        ]
        assert [worker.pid for worker in worker_processes()] == pids


async def test_a_cancel_in_a_batch_that_streams_leaves_the_others(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(STREAM) as gateway:
        ids = [await gateway.submit("it", text=text) for text in ("abcd", "efgh", "ijkl")]
        await gateway.wait_until(lambda: all(count_chunks(gateway, id) == 2 for id in ids))
        await gateway.cancel(ids[1])
        canceled = await gateway.final(ids[1])
        assert isinstance(canceled, Canceled)
        (folder / "wait").unlink()
        await finals(gateway, ids)
        assert [text_of(gateway, id) for id in ids] == ["abcd", "ef", "ijkl"]


def count_chunks(gateway: FakeGateway, id: str) -> int:
    """Chunks so far."""
    return sum(len(event.values) for event in gateway.events(id, Output))


def text_of(gateway: FakeGateway, id: str) -> str:
    """What the run that counts said."""
    (final,) = gateway.finals(id)
    events = [event for event in gateway.events(id, Output) if event.run == final.run]
    return "".join(json.decode(value) for event in [*events, final] for value in event.values)


async def test_a_streaming_batch_that_fails_starts_over_for_the_jobs_with_output(serve: Serve) -> None:
    async with serve(STREAM) as gateway:
        ids = [await gateway.submit("it", text=text) for text in ("abcd", "--!-", "--gh")]
        ended = await finals(gateway, ids)
        assert [text_of(gateway, id) for id in ids] == ["abcd", "--", "--gh"]
    assert isinstance(ended[1], Failed)
    assert ended[1].error == "no shouting"
    assert [final.metrics["batch_size"] for final in ended] == [1, 1, 1]
    assert ended[0].log == "alone\n"


async def test_a_batch_holds_what_is_equal_in_what_parts_them(serve: Serve) -> None:
    async with serve(SIZES) as gateway:
        sizes: list[dict[str, Any]] = [
            {"size": 1024},
            {},
            {"size": 1024},
            {"size": 512},
            {"size": 1024},
            {"size": 512.0},
        ]
        ids = [await gateway.submit("it", n=n, **size) for n, size in enumerate(sizes)]
        ended = await finals(gateway, ids)
    assert [output(final) for final in ended] == [[n, [1024 if n % 2 == 0 else 512] * 3] for n in range(6)]


async def test_as_many_clients_as_two_batches_hold_keep_a_worker_busy(tmp_path: Path) -> None:
    """Each asks again once it is answered: while one batch runs, the next is collected and is in the worker already."""
    batcher = Batcher(grace=5)
    async with running_worker(write_program(tmp_path, TIMED), batcher.on_frame) as worker:
        ready = await worker.wait_ready(60)
        batcher.attach(worker, size=ready.max_batch_size, window=ready.max_batch_wait_ms / 1000)
        async with asyncio.TaskGroup() as clients:
            tasks = [clients.create_task(run_client(batcher, client)) for client in range(16)]
    batches = sorted({batch for client in tasks for batch in client.result()})
    assert [size for _, _, size in batches] == [8] * 20
    busy = sum(ended - began for began, ended, _ in batches)
    assert busy / (batches[-1][1] - batches[0][0]) > 0.5


async def run_client(batcher: Batcher, client: int) -> list[tuple[float, float, int]]:
    """When each of its batches began and ended, and how large it was."""
    batches: list[tuple[float, float, int]] = []
    for number in range(10):
        call = Call(Item(f"{client}-{number}", b'{"n": 1}'))
        batcher.put(call)
        while call.outcome is None:
            await call.wait_for_change()
        assert isinstance(call.outcome, Done)
        batches.append(json.decode(call.outcome.value or b"", type=tuple[float, float, int]))
    return batches


async def test_the_batch_that_fits_is_remembered_when_the_agent_is_another(serve: Serve) -> None:
    """The second one never tries more."""
    logs: list[list[str]] = []
    for _ in range(2):
        async with serve(HUNGRY) as gateway:
            ids = [await gateway.submit("it", n=n) for n in range(16)]
            assert {output(final) for final in await finals(gateway, ids)} == {4}
            logs.append([log_of(gateway, id) for id in ids])
            # The worker says what fits after the last answer, and before it takes the next batch.
            await finals(gateway, [await gateway.submit("it", n=n) for n in range(4)])
    first, second = logs
    assert all(log.startswith("a batch of 16 ran out of memory; trying 8\n") for log in first)
    assert second == [""] * 16
