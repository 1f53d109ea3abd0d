"""What a set-up left on the CPU goes where the plan has room, and computes the same numbers there."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from tests.runners.worker.driver import Worker, output, running_worker, write_predictor

torch = pytest.importorskip("torch")

from runners.worker.devices import dispatch  # noqa: E402
from runners.worker.devices.dispatch import bytes_by_device, entry_modules, first_fit, unsplittable_classes  # noqa: E402

MB = 1_000_000
WHOLE = 308 * MB

USES = """
    import torch
    from accelerate import dispatch_model, init_empty_weights, load_checkpoint_and_dispatch
    from transformers import AutoConfig, AutoModelForCausalLM

    class Predictor:
        def setup(self):
            {setup}

        def predict(self) -> dict:
            with torch.inference_mode():
                logits = self.model(input_ids=torch.arange(32).view(1, -1)).logits
            away = sum(p.numel() * 4 for p in self.model.parameters() if p.is_meta)
            tied = self.model.lm_head.weight is self.model.model.embed_tokens.weight
            return {{"logits": logits[0, ::8, ::50].tolist(), "on": str(logits.device), "away": away, "tied": tied}}
"""
EMPTY = """
            with init_empty_weights():
                model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained({folder!r}))
            model.tie_weights()
            self.model = load_checkpoint_and_dispatch(
                model, {folder!r}, device_map="auto", no_split_module_classes=["LlamaDecoderLayer"]).eval()
"""
AUTO = "self.model = AutoModelForCausalLM.from_pretrained({folder!r}, device_map='auto').eval()"
ON_CPU = "self.model = AutoModelForCausalLM.from_pretrained({folder!r}).eval()"
SETUPS = [
    pytest.param(EMPTY, id="load_checkpoint_and_dispatch"),
    pytest.param(AUTO, id="from_pretrained with device_map=auto"),
    pytest.param(ON_CPU, id="left on the CPU"),
]


def plan(folder: Path, **max_memory: int) -> dict[str, str]:
    named = {name.removeprefix("gpu"): most for name, most in max_memory.items()}
    text = json.encode({"max_memory": named, "offload": str(folder / "offload")}).decode()
    return {"SAMOVAR_PLACEMENT": text}


def write_with_setup(folder: Path, llama: Path, setup: str) -> Path:
    return write_predictor(folder, USES.format(setup=setup.format(folder=str(llama)).strip()))


def answer(worker: Worker) -> dict[str, Any]:
    worker.run({})
    return output(worker.done())


@pytest.fixture(scope="session")
def unsplit(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> tuple[dict[str, Any], int]:
    """What it answers with all of its weights in the host's memory, and the most of it that it has had."""
    folder = write_with_setup(tmp_path_factory.mktemp("unsplit"), llama, EMPTY)
    with running_worker(folder, environment={"CUDA_VISIBLE_DEVICES": ""}) as worker:
        assert worker.ready().placed == {"model": "cpu"}
        return answer(worker), worker.memory("VmHWM")


@pytest.mark.slow
@pytest.mark.parametrize("setup", SETUPS)
def test_a_model_bigger_than_its_limit_runs_from_memory_and_disk(
    tmp_path: Path, llama: Path, unsplit: tuple[dict[str, Any], int], setup: str
):
    with running_worker(write_with_setup(tmp_path, llama, setup), environment=plan(tmp_path, cpu=150 * MB)) as worker:
        assert worker.ready().placed == {"model": "cpu + disk"}
        assert not worker.ready().parkable
        split, memory = answer(worker), worker.memory("VmHWM")
    expected, needed = unsplit
    assert split["away"] > WHOLE - 150 * MB
    assert split["logits"] == [pytest.approx(row, abs=1e-5) for row in expected["logits"]]
    assert split["tied"]
    assert expected["tied"]
    # A set-up that reads all of it before it is placed has had it in memory, as others have not.
    assert setup == ON_CPU or needed - memory > 0.6 * split["away"]


BLOCKS = """
    import torch

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(2048, 2048)
        def forward(self, x):
            return x + torch.tanh(self.inner(x))

    def blocks(seed, many):
        torch.manual_seed(seed)
        return torch.nn.Sequential(*[Block() for _ in range(many)])

    class Predictor:
        {head}
        def setup(self):
            self.first = blocks(0, {first})
            self.others = [blocks(1, {second})]

        def predict(self) -> list:
            with torch.inference_mode():
                x = torch.linspace(0, 1, 2048).view(1, -1)
                return self.others[0](self.first(x))[0, ::100].tolist()
"""
BLOCK = 2048 * 2049 * 4


def blocks(folder: Path, first: int, second: int, head: str = "") -> Path:
    return write_predictor(folder, BLOCKS.format(first=first, second=second, head=head))


@pytest.mark.slow
def test_memory_used_during_set_up_is_returned(tmp_path: Path):
    with running_worker(blocks(tmp_path, 9, 9)) as worker:
        expected, whole = answer(worker), worker.memory("VmRSS")
    with running_worker(blocks(tmp_path, 9, 9), environment=plan(tmp_path, cpu=6 * BLOCK)) as worker:
        assert worker.ready().placed == {"first": "cpu + disk", "others[0]": "disk"}
        assert worker.ready().log.splitlines()[-1] == "others[0] is on disk now"
        assert whole - worker.memory("VmRSS") > 10 * BLOCK
        assert answer(worker) == expected


def test_later_modules_get_the_remaining_memory(tmp_path: Path):
    with running_worker(blocks(tmp_path, 2, 8), environment=plan(tmp_path, cpu=7 * BLOCK)) as worker:
        assert worker.ready().placed == {"first": "cpu", "others[0]": "cpu + disk"}


def test_nothing_moves_as_long_as_it_fits(tmp_path: Path):
    with running_worker(blocks(tmp_path, 2, 2), environment=plan(tmp_path, cpu=5 * BLOCK)) as worker:
        assert worker.ready().placed == {"first": "cpu", "others[0]": "cpu"}
        assert worker.ready().parkable
        assert not (tmp_path / "offload").exists()


def test_a_predictor_that_places_itself_is_not_moved(tmp_path: Path):
    folder = blocks(tmp_path, 2, 2, head='placement = "manual"')
    with running_worker(folder, environment=plan(tmp_path, cpu=BLOCK)) as worker:
        assert worker.ready().placed == {"first": "cpu", "others[0]": "cpu"}


def test_modules_that_cannot_be_hooked_are_not_moved(tmp_path: Path):
    code = """
        import torch
        class Predictor:
            def setup(self):
                self.script = torch.jit.script(torch.nn.Linear(100, 100))
                self.compiled = torch.compile(torch.nn.Linear(100, 100))
                self.empty = torch.nn.Linear(100, 100, device="meta")
            def predict(self) -> int: return 1
    """
    with running_worker(write_predictor(tmp_path, code), environment=plan(tmp_path, cpu=1)) as worker:
        assert worker.ready().placed == {"script": "cpu", "compiled": "cpu", "empty": "meta"}


FAILURES = [
    pytest.param(
        "setup",
        "",
        {"cpu": 3 * BLOCK},
        "first: it holds 67 MB, and accelerate could not place it on cpu + disk: ValueError: We need an `offload_dir`",
        id="no folder",
    ),
    pytest.param(
        "setup",
        'placement = "by hand"',
        {"cpu": 9 * BLOCK},
        'class Predictor: placement is \'by hand\', and can be "auto" or "manual"',
        id="an unknown choice",
    ),
]


@pytest.mark.parametrize(("stage", "head", "max_memory", "error"), FAILURES)
def test_a_failure_names_the_devices_and_what_to_do(
    tmp_path: Path, stage: str, head: str, max_memory: dict[str, int], error: str
):
    environment = {"SAMOVAR_PLACEMENT": json.encode({"max_memory": max_memory}).decode()}
    worker = Worker(blocks(tmp_path, 4, 4, head=head), environment=environment)
    try:
        broken = worker.load_failure()
        assert broken.stage == stage
        assert broken.error.startswith(error)
        assert "manual" in broken.error
    finally:
        worker.close()


ROOM = [
    pytest.param({0: 100, 1: 200, "cpu": 900}, 90, 0, id="the first"),
    pytest.param({0: 100, 1: 200, "cpu": 900}, 91, 1, id="some room is for what is computed"),
    pytest.param({0: 100, 1: 200, "cpu": 900}, 181, None, id="a CPU is no place beside GPUs"),
    pytest.param({"cpu": 900}, 900, "cpu", id="a CPU alone"),
    pytest.param({"cpu": 900}, 901, None, id="is full"),
    pytest.param({}, 901, "cpu", id="no limit"),
]


@pytest.mark.parametrize(("remaining", "size", "device"), ROOM)
def test_a_module_goes_to_the_first_device_with_room(remaining: dict[Any, int], size: int, device: Any):
    assert first_fit(size, remaining) == device


def test_a_device_map_says_how_many_bytes_each_device_takes():
    sizes = {"": 10, "a": 4, "b": 6, "b.c": 1, "b.d": 5}
    assert bytes_by_device({"": 0}, sizes) == {0: 10}
    assert bytes_by_device({"a": 0, "b.c": 1, "b.d": "disk"}, sizes) == {0: 4, 1: 1, "disk": 5}


class Row(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)


class Weighted(Row):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))


def test_blocks_are_not_split():
    model = torch.nn.ModuleDict({"rows": torch.nn.ModuleList([Row(), torch.nn.Sequential(Row())]), "w": Weighted()})
    assert unsplittable_classes(model) == ["Row", "Weighted"]
    assert unsplittable_classes(Weighted()) == []
    model._no_split_modules = {"B", "A"}
    assert unsplittable_classes(model) == ["A", "B"]


def test_only_entry_modules_are_hooked():
    body = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Sequential(Row()), Row()), torch.nn.ReLU())
    assert entry_modules(body) == [body, body[0], body[0][0], body[0][1]]


def test_a_hooked_module_takes_inputs_from_any_device():
    accelerate = pytest.importorskip("accelerate")
    row = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2))
    expected = row(torch.ones(1, 2))
    dispatch._move_to_device(accelerate, row, "cpu", None)
    assert torch.equal(row(torch.ones(1, 2)), expected)
    assert [hasattr(part, "_hf_hook") for part in (row, row[0], row[0][0], row[1])] == [True, True, False, False]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_a_small_model_goes_to_the_gpu_and_its_callers_notice_nothing(
    tmp_path: Path, llama: Path, unsplit: tuple[dict[str, Any], int]
):
    with running_worker(
        write_with_setup(tmp_path, llama, ON_CPU), environment=plan(tmp_path, gpu0=900 * MB, cpu=WHOLE)
    ) as worker:
        assert worker.ready().placed == {"model": "cuda:0"}
        assert worker.ready().device_bytes >= WHOLE
        result = answer(worker)
    assert (result["on"], result["tied"]) == ("cpu", True)
    assert result["logits"] == [pytest.approx(row, abs=1e-2) for row in unsplit[0]["logits"]]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("setup", SETUPS)
def test_a_model_bigger_than_the_gpu_is_split(
    tmp_path: Path, llama: Path, unsplit: tuple[dict[str, Any], int], setup: str
):
    with running_worker(
        write_with_setup(tmp_path, llama, setup), environment=plan(tmp_path, gpu0=340 * MB, cpu=2 * WHOLE)
    ) as worker:
        assert worker.ready().placed == {"model": "cuda:0 + cpu"}
        assert not worker.ready().parkable
        result = answer(worker)
    assert result["logits"] == [pytest.approx(row, abs=1e-2) for row in unsplit[0]["logits"]]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_more_than_the_limit_is_out_of_memory(tmp_path: Path):
    code = """
        import torch
        class Predictor:
            def predict(self) -> str:
                try:
                    torch.zeros(400_000_000, dtype=torch.uint8, device="cuda")
                except torch.OutOfMemoryError:
                    return "full"
    """
    with running_worker(
        write_predictor(tmp_path, code), environment=plan(tmp_path, gpu0=300 * MB, cpu=WHOLE)
    ) as worker:
        assert answer(worker) == "full"
