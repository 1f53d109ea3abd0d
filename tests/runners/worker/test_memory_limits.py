"""User code sees its limits of the host, whichever library it asks."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from msgspec import json  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from runners.worker.devices.memory_limits import MemoryLimits, bytes_in_use, storage_bytes, subtract  # noqa: E402
from runners.worker.frames import Placement  # noqa: E402
from tests.runners.worker.driver import output, running_worker, write_predictor  # noqa: E402


def ask(folder: Path, question: str, **plan: Any) -> Any:
    """What a predictor hears that asks this of accelerate, as `modeling`, or of transformers."""
    code = f"""
        import torch
        from accelerate.utils import get_max_memory, modeling
        import transformers.integrations.accelerate as transformers
        kept = torch.zeros(1000)
        class Predictor:
            placement = "manual"
            def predict(self) -> object:
                return {question}
    """
    environment = {"SAMOVAR_PLACEMENT": json.encode(plan).decode()}
    with running_worker(write_predictor(folder, code), environment=environment) as worker:
        worker.run({})
        return output(worker.done())


def test_what_remains_of_a_limit_is_never_negative():
    assert subtract({0: 10, 1: 5, "cpu": 7}, {0: 3, "cpu": 8, "disk": 100}) == {0: 7, 1: 5, "cpu": 0}


def test_a_storage_counts_once():
    whole = torch.zeros(100)
    assert storage_bytes([whole, whole[:50], whole.view(10, 10), torch.zeros(5), torch.zeros(9, device="meta")]) == {
        "cpu": 420
    }


def test_sparse_tensors_count_without_a_storage():
    assert storage_bytes([torch.eye(3).to_sparse()])["cpu"] > 0


def test_all_tensors_of_torch_are_counted():
    before = bytes_in_use()["cpu"]
    tensors = [torch.zeros(1000)]
    assert bytes_in_use()["cpu"] - before == 4000
    tensors.clear()
    assert bytes_in_use()["cpu"] == before


def test_fake_tensors_do_not_count():
    before = bytes_in_use()["cpu"]
    with FakeTensorMode():
        kept = torch.zeros(1000)
    assert bytes_in_use()["cpu"] == before
    assert kept.device.type == "cpu"


def test_missing_devices_have_no_limit():
    if not torch.cuda.is_available():
        assert MemoryLimits(Placement(max_memory={"0": 5, "cpu": 6})).by_device() == {"cpu": 6}


class Cuda:
    """Two devices of 1000 bytes, in the place of `torch.cuda`."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.walls: dict[int, float] = {}

    def _lazy_call(self, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def device_count(self) -> int:
        return 2

    def get_device_properties(self, device: int) -> Any:
        return SimpleNamespace(total_memory=1000)

    def set_per_process_memory_fraction(self, fraction: float, device: int) -> None:
        self.walls[device] = fraction


@pytest.mark.parametrize(
    ("max_memory", "walls"),
    [
        pytest.param({"0": 250, "1": 2000, "2": 5, "cpu": 6}, {0: 0.25, 1: 1.0}, id="of each device that is there"),
        pytest.param({"1": 500}, {1: 0.5}, id="of those that are named"),
        pytest.param({"cpu": 500}, {}, id="of none"),
    ],
)
def test_a_gpu_is_limited_once_it_is_used(max_memory: dict[str, int], walls: dict[int, float]):
    cuda, torch = Cuda(), ModuleType("torch")
    torch.cuda = cuda  # pyright: ignore[reportAttributeAccessIssue]
    MemoryLimits(Placement(max_memory=max_memory)).limit_torch(torch)
    assert cuda.walls == {}
    for call in cuda.waiting:
        call()
    assert cuda.walls == walls


def test_each_offload_folder_is_new():
    limits = MemoryLimits(Placement(offload="/o"))
    assert limits.new_offload_folder() != limits.new_offload_folder()
    assert Path(limits.new_offload_folder() or "").parent == Path("/o")
    assert MemoryLimits(Placement()).new_offload_folder() is None


def test_accelerate_sees_what_remains(tmp_path: Path):
    remaining = ask(tmp_path, "get_max_memory()", max_memory={"cpu": 1_000_000})
    assert remaining == {"cpu": 1_000_000 - 4000}


def test_a_lower_limit_of_the_predictor_wins(tmp_path: Path):
    question = "[get_max_memory({'cpu': n}) for n in (5, '1GB')]"
    assert ask(tmp_path, question, max_memory={"cpu": 1_000_000}) == [{"cpu": 5}, {"cpu": 1_000_000}]


def test_transformers_reserves_its_tenth(tmp_path: Path):
    remaining = ask(tmp_path, "transformers.get_max_memory()", max_memory={"cpu": 1_000_000})
    assert remaining == {"cpu": pytest.approx(0.9 * (1_000_000 - 4000))}


def test_without_a_plan_the_libraries_decide(tmp_path: Path):
    assert ask(tmp_path, "[get_max_memory.__module__, get_max_memory()['cpu'] > 10**8]") == [
        "accelerate.utils.modeling",
        True,
    ]
