"""Batches as their jobs feel them: through a worker, and through an agent on a real broker."""

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
from tests.runners.conftest import Front, eventually, running, workers
from tests.runners.pushing import log_of
from tests.runners.test_instance import begun, program

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

Serve = Callable[[str], AbstractAsyncContextManager[Front]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "it"
    made.mkdir()
    return made


@pytest.fixture
def serve(front: Front, nats_url: str, settings: Settings, folder: Path) -> Serve:
    """An agent that offers a predictor as `it`."""

    @asynccontextmanager
    async def serving(code: str) -> AsyncGenerator[Front]:
        (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
        (folder / "predict.py").write_text(code)
        async with running(settings, nats_url=nats_url, models=(str(folder),)):
            await front.until(lambda: "it" in front.offers)
            yield front

    return serving


async def finals(front: Front, ids: list[str]) -> list[Final]:
    return [await front.final(id) for id in ids]


def output(final: Final) -> object:
    assert isinstance(final, Succeeded), final
    (value,) = final.values
    return json.decode(value)


async def test_sixteen_whose_worker_is_killed_have_sixteen_right_answers(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(SIXTEEN) as front:
        ids = [await front.submit("it", n=n) for n in range(16)]
        await front.until(lambda: all(front.events(id, Started) for id in ids))
        (worker,) = workers()
        worker.kill()
        await front.until(lambda: all(front.events(id, Crashed) for id in ids))
        (folder / "wait").unlink()
        ended = await finals(front, ids)
        assert [output(final) for final in ended] == [[n * 2, 1] for n in range(16)]
        assert [final.metrics["batch_size"] for final in ended] == [1] * 16
        assert all(len(front.finals(id)) == 1 for id in ids)
        await eventually(lambda: _is_empty(front))


async def _is_empty(front: Front) -> bool:
    return await front.queued() == 0


async def test_one_that_raises_in_a_batch_of_sixteen_fails_alone(serve: Serve) -> None:
    async with serve(SIXTEEN) as front:
        ids = [await front.submit("it", n=n, do="raise" if n == 5 else "") for n in range(16)]
        ended = await finals(front, ids)
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
    async with serve(SIXTEEN) as front:
        ids = [await front.submit("it", n=n, do="die" if n == 5 else "") for n in range(16)]
        ended = await finals(front, ids)
        poison = ended.pop(5)
        assert isinstance(poison, Failed)
        assert "died 3 times" in poison.error
        assert [output(final) for final in ended] == [[n * 2, 1] for n in range(16) if n != 5]
        assert [len(front.events(id, Crashed)) for id in ids] == [1] * 5 + [2] + [1] * 10


async def test_a_cancel_in_a_batch_leaves_the_others_and_their_worker(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(SIXTEEN) as front:
        ids = [await front.submit("it", n=n) for n in range(16)]
        await front.until(lambda: all(front.events(id, Started) for id in ids))
        pids = [worker.pid for worker in workers()]
        await front.cancel(ids[3], "enough")
        canceled = await front.final(ids[3])
        assert isinstance(canceled, Canceled)
        assert canceled.metrics["batch_size"] == 16
        (folder / "wait").unlink()
        assert [output(final) for final in await finals(front, ids[:3] + ids[4:])] == [
            [n * 2, 16] for n in range(16) if n != 3
        ]
        assert [worker.pid for worker in workers()] == pids


async def test_a_cancel_in_a_batch_that_streams_leaves_the_others(serve: Serve, folder: Path) -> None:
    (folder / "wait").touch()
    async with serve(STREAM) as front:
        ids = [await front.submit("it", text=text) for text in ("abcd", "efgh", "ijkl")]
        await front.until(lambda: all(said(front, id) == 2 for id in ids))
        await front.cancel(ids[1])
        canceled = await front.final(ids[1])
        assert isinstance(canceled, Canceled)
        (folder / "wait").unlink()
        await finals(front, ids)
        assert [text_of(front, id) for id in ids] == ["abcd", "ef", "ijkl"]


def said(front: Front, id: str) -> int:
    """Chunks so far."""
    return sum(len(event.values) for event in front.events(id, Output))


def text_of(front: Front, id: str) -> str:
    """What the run that counts said."""
    (final,) = front.finals(id)
    said = [event for event in front.events(id, Output) if event.run == final.run]
    return "".join(json.decode(value) for event in [*said, final] for value in event.values)


async def test_a_stream_that_fails_for_one_starts_over_for_who_had_heard_of_it(serve: Serve) -> None:
    async with serve(STREAM) as front:
        ids = [await front.submit("it", text=text) for text in ("abcd", "--!-", "--gh")]
        ended = await finals(front, ids)
        assert [text_of(front, id) for id in ids] == ["abcd", "--", "--gh"]
    assert isinstance(ended[1], Failed)
    assert ended[1].error == "no shouting"
    assert [final.metrics["batch_size"] for final in ended] == [1, 1, 1]
    assert ended[0].log == "alone\n"


async def test_a_batch_holds_what_is_equal_in_what_parts_them(serve: Serve) -> None:
    async with serve(SIZES) as front:
        sizes: list[dict[str, Any]] = [
            {"size": 1024},
            {},
            {"size": 1024},
            {"size": 512},
            {"size": 1024},
            {"size": 512.0},
        ]
        ids = [await front.submit("it", n=n, **size) for n, size in enumerate(sizes)]
        ended = await finals(front, ids)
    assert [output(final) for final in ended] == [[n, [1024 if n % 2 == 0 else 512] * 3] for n in range(6)]


async def test_as_many_clients_as_two_batches_hold_keep_a_worker_busy(tmp_path: Path) -> None:
    """Each asks again once it is answered: while one batch runs, the next is collected and is in the worker already."""
    batcher = Batcher(grace=5)
    async with begun(program(tmp_path, TIMED), batcher.heard) as worker:
        ready = await worker.ready(60)
        batcher.attach(worker, size=ready.max_batch_size, window=ready.max_batch_wait_ms / 1000)
        async with asyncio.TaskGroup() as clients:
            asking = [clients.create_task(asked(batcher, client)) for client in range(16)]
    batches = sorted({batch for client in asking for batch in client.result()})
    assert [size for _, _, size in batches] == [8] * 20
    busy = sum(ended - began for began, ended, _ in batches)
    assert busy / (batches[-1][1] - batches[0][0]) > 0.5


async def asked(batcher: Batcher, client: int) -> list[tuple[float, float, int]]:
    """When each of its batches began and ended, and how large it was."""
    batches: list[tuple[float, float, int]] = []
    for number in range(10):
        call = Call(Item(f"{client}-{number}", b'{"n": 1}'))
        batcher.put(call)
        while call.end is None:
            await call.news()
        assert isinstance(call.end, Done)
        batches.append(json.decode(call.end.value or b"", type=tuple[float, float, int]))
    return batches


async def test_the_batch_that_fits_is_remembered_when_the_agent_is_another(serve: Serve) -> None:
    """The second one never tries more."""
    logs: list[list[str]] = []
    for _ in range(2):
        async with serve(HUNGRY) as front:
            ids = [await front.submit("it", n=n) for n in range(16)]
            assert {output(final) for final in await finals(front, ids)} == {4}
            logs.append([log_of(front, id) for id in ids])
            # The worker says what fits after the last answer, and before it takes the next batch.
            await finals(front, [await front.submit("it", n=n) for n in range(4)])
    first, second = logs
    assert all(log.startswith("a batch of 16 ran out of memory; trying 8\n") for log in first)
    assert second == [""] * 16
