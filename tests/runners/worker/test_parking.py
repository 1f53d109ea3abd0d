"""A model leaves its device and comes back to it, and says how much of it it has had."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from runners.worker.devices.parking import ModelMemory
from runners.worker.frames import FromWorker, MemoryPeak, Park, Parked
from tests.runners.worker.driver import Worker, output, running_worker, write_predictor

MB = 1_000_000

NUMBERS = """
    import asyncio, torch

    class Predictor:
        def setup(self):
            torch.manual_seed(0)
            self.model = torch.nn.Sequential(torch.nn.Linear(2000, 2000), torch.nn.BatchNorm1d(2000)).eval()
            {setup}

        {keyword} predict(self) -> list:
            with torch.inference_mode():
                return self.model(torch.ones(1, 2000{where})).cpu()[0, ::100].tolist()
"""


def numbers(folder: Path, *, keyword: str = "def", setup: str = "pass", where: str = "") -> Path:
    return write_predictor(folder, NUMBERS.format(keyword=keyword, setup=setup, where=where))


@contextmanager
def run_parkable(folder: Path, **options: Any) -> Generator[tuple[Worker, Callable[[str], Any]]]:
    with running_worker(folder, **options) as worker:

        def answer(id: str) -> Any:
            worker.run({}, ids=id)
            return output(worker.done(id))

        yield worker, answer


@pytest.mark.parametrize("keyword", ["def", "async def", "@concurrent(max=2)\n        async def"])
def test_a_parked_model_comes_back_with_the_same_numbers(tmp_path: Path, keyword: str):
    folder = numbers(tmp_path, keyword=keyword)
    file = folder / "predict.py"
    file.write_text("from cog import concurrent\n" + file.read_text())
    with run_parkable(folder) as (worker, answer):
        assert worker.ready().parkable
        before = answer("a")
        parked = worker.park(True)
        assert (parked.parked, parked.error) == (True, None)
        assert worker.park(True).parked
        assert not worker.park(False).parked
        assert answer("b") == before


def test_parking_waits_for_what_runs(tmp_path: Path):
    code = """
        import asyncio, os
        from cog import concurrent
        class Predictor:
            @concurrent(max=3)
            async def predict(self) -> int:
                print("here")
                while os.path.exists("wait"): await asyncio.sleep(0.01)
    """
    (tmp_path / "wait").touch()
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({}, ids="a")
        worker.wait_for_log("here")
        worker.send(Park(True))
        worker.run({}, ids="b")
        (tmp_path / "wait").unlink()
        worker.done("b")
        answers = [
            frame for frame in worker.frames if getattr(frame, "id", "") in ("a", "b") or isinstance(frame, Parked)
        ]
        assert [getattr(frame, "id", "parked") for frame in answers] == ["a", "parked", "b"]


def test_a_parked_process_returns_freed_memory(tmp_path: Path):
    code = """
        class Predictor:
            def predict(self) -> int:
                kept = [bytes(1000) for _ in range(100_000)]
                self.last = kept[-1]  # what lies before it is free, and would stay
    """
    with run_parkable(write_predictor(tmp_path, code)) as (worker, answer):
        before = worker.memory("VmRSS")
        answer("a")
        assert worker.memory("VmRSS") > before + 80 * MB
        worker.park(True)
        assert worker.memory("VmRSS") < before + 20 * MB


class FakeTensor:
    """Of a device, in the place of one that this machine lacks."""

    def __init__(self, device: str, room: dict[str, int]) -> None:
        self.device = device
        self._room = room

    @property
    def is_cuda(self) -> bool:
        return self.device != "cpu"

    def data_ptr(self) -> int:
        return id(self)

    def to(self, device: str) -> "FakeTensor":
        if self._room[device] == 0:
            raise RuntimeError(f"{device} is out of memory")
        self._room[device] -= 1
        return FakeTensor(device, self._room)


class FakeModule:
    def __init__(self, room: dict[str, int], *devices: str) -> None:
        self.tensors = [FakeTensor(device, room) for device in devices]

    def _apply(self, to: Callable[[FakeTensor], FakeTensor]) -> None:
        for place, tensor in enumerate(self.tensors):
            self.tensors[place] = to(tensor)

    def where(self) -> list[str]:
        return [tensor.device for tensor in self.tensors]


class FrameRecorder(list[FromWorker]):
    def send(self, *frames: FromWorker) -> None:
        self.extend(frames)

    def last(self) -> tuple[bool, str | None]:
        parked = self[-1]
        assert isinstance(parked, Parked)
        return parked.parked, parked.error


def test_each_tensor_returns_to_its_device():
    room = {"cpu": 9, "cuda:0": 9, "cuda:1": 9}
    module = FakeModule(room, "cuda:0", "cpu", "cuda:1")
    memory = ModelMemory({"model": module}, frames := FrameRecorder())
    memory.carry_out(Park(True))
    assert (module.where(), frames.last()) == (["cpu"] * 3, (True, None))
    memory.carry_out(Park(False))
    assert (module.where(), frames.last()) == (["cuda:0", "cpu", "cuda:1"], (False, None))


def test_without_room_it_stays_parked_and_may_try_again():
    room = {"cpu": 9, "cuda:0": 1}
    module = FakeModule(room, "cuda:0", "cuda:0")
    memory = ModelMemory({"model": module}, frames := FrameRecorder())
    memory.carry_out(Park(True))
    memory.carry_out(Park(False))
    assert frames.last() == (True, "the model stays parked: RuntimeError: cuda:0 is out of memory")
    assert module.where() == ["cpu", "cpu"]
    room["cuda:0"] = 2
    memory.carry_out(Park(False))
    assert (module.where(), frames.last()) == (["cuda:0"] * 2, (False, None))


def test_without_memory_to_park_in_it_stays_where_it_is():
    room = {"cpu": 1, "cuda:0": 9}
    module = FakeModule(room, "cuda:0", "cuda:0")
    memory = ModelMemory({"model": module}, frames := FrameRecorder())
    memory.carry_out(Park(True))
    assert frames.last() == (False, "the model stays on its device: RuntimeError: cpu is out of memory")
    assert module.where() == ["cuda:0", "cuda:0"]


def test_on_a_cpu_no_device_memory_is_reported(tmp_path: Path):
    with run_parkable(numbers(tmp_path)) as (worker, answer):
        answer("a")
        answer("b")
        assert worker.ready().device_bytes == 0
        assert not any(isinstance(frame, MemoryPeak) for frame in worker.frames)


def test_a_module_named_torch_is_not_mistaken_for_torch(tmp_path: Path):
    code = """
        import sys, types
        class Predictor:
            def setup(self): sys.modules["torch"] = types.SimpleNamespace(cuda=self)
            def is_initialized(self): return True
            def predict(self) -> int: return 1
    """
    limits = {"SAMOVAR_PLACEMENT": '{"max_memory": {"cpu": 1000}}'}
    with run_parkable(write_predictor(tmp_path, code), environment=limits) as (worker, answer):
        assert worker.ready().parkable
        assert (answer("a"), worker.park(True).error) == (1, None)


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, str]:
    most = {"0": 2000 * MB, "cpu": 4000 * MB}
    return {"SAMOVAR_PLACEMENT": json.encode({"device": "cuda", "max_memory": most}).decode()}


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("setup", "where"),
    [
        pytest.param("pass", "", id="placed by us"),
        pytest.param("self.model.to('cuda')", ", device='cuda'", id="placed by its set-up"),
    ],
)
def test_parking_frees_the_gpu_and_coming_back_gives_the_same_numbers(
    tmp_path: Path, plan: dict[str, str], setup: str, where: str
):
    torch = pytest.importorskip("torch")
    with run_parkable(numbers(tmp_path, setup=setup, where=where), environment=plan) as (worker, answer):
        assert worker.ready().parkable
        assert worker.ready().placed == {"model": "cuda:0"}
        assert worker.ready().device_bytes > 16 * MB
        before = answer("a")
        taken = torch.cuda.mem_get_info(0)[0]
        assert worker.park(True).error is None
        assert torch.cuda.mem_get_info(0)[0] - taken > 15 * MB
        assert worker.park(False).error is None
        assert answer("b") == before


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_a_run_that_takes_more_of_the_gpu_reports_it(tmp_path: Path, plan: dict[str, str]):
    code = """
        import torch
        class Predictor:
            def predict(self) -> int: torch.zeros(100_000_000, dtype=torch.uint8, device="cuda")
    """
    with run_parkable(write_predictor(tmp_path, code), environment=plan) as (worker, answer):
        answer("a")
        answer("b")
        took = worker.until(lambda: [frame for frame in worker.frames if isinstance(frame, MemoryPeak)] or None)
        assert len(took) == 1
        assert took[0].device_bytes >= 100 * MB
