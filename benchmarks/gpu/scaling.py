"""How a model's batches scale on a GPU, behind everything and in a bare loop, and how busy the GPU is meanwhile."""

import statistics
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pynvml
from msgspec import Struct, structs

from benchmarks import bare, machine, samples, tables
from benchmarks.measure import measure
from benchmarks.plans import INPUTS, request
from benchmarks.samples import Figure, Plan, Repeat
from benchmarks.special.terms import figure
from benchmarks.targets import Target, samovar
from deploy.errors import Unusable

HERE: Final = Path(__file__).parent
FOLDERS: Final = {"minilm": HERE.parents[1] / "runners" / "models" / "minilm", "transformer": HERE / "transformer"}
EVERY: Final = 0.05  # seconds between two looks at the GPU

Measured = Repeat | Figure
Progress = Callable[[str], None]


class Wish(Struct, frozen=True, kw_only=True):
    models: Sequence[str]
    sizes: Sequence[int]
    """Of batches in the bare loop, and as many clients behind the gateway."""
    repeats: int
    seconds: float
    out: Path
    anyway: bool
    """Also where there is no GPU: to see that it works."""


def scaling(wish: Wish, tell: Progress) -> None:
    """Raises `Unusable` where there is no GPU."""
    if not wish.anyway and not _gpus():
        raise Unusable("There is no NVIDIA GPU here, so there is nothing to measure; --anyway runs it on the CPU.")
    measured: list[Measured] = [one for model in wish.models for one in _alone(model, wish, tell)]
    with samovar(models=[HERE / "transformer"]) as target:
        measured += [one for model in wish.models for one in _behind(model, target, wish, tell)]
    samples.write(wish.out, measured)
    tables.show(measured)
    tell(f"raw data: {wish.out}")


def _alone(model: str, wish: Wish, tell: Progress) -> Generator[Figure]:
    for size in wish.sizes:
        with _watched() as busy:
            once = partial(bare.apart, FOLDERS[model], size, seconds=wish.seconds, threads=machine.threads())
            rates = [once() for _ in range(wish.repeats)]
        tell(f"{model}, bare loop, batches of {size}: {statistics.median(rates):.0f}/s")
        name = f"{model}, batches of {size}"
        for each in (figure(name, "texts/s", rates), *_shares(name, busy)):
            yield structs.replace(each, target="bare loop")


def _behind(model: str, target: Target, wish: Wish, tell: Progress) -> Generator[Measured]:
    for clients in wish.sizes:
        plan = Plan(
            name=f"{model}, {clients} client{'s' * (clients > 1)}",
            target=target.name,
            url=target.url,
            protocol="sync",
            requests=[request(model, input) for input in INPUTS["minilm"]],
            clients=clients,
            seconds=wish.seconds,
            repeats=wish.repeats,
            expect='"succeeded"',
        )
        with _watched() as busy:
            yield from measure(plan, target, progress=tell)
        yield from _shares(plan.name, busy)


def _shares(name: str, busy: list[float]) -> Generator[Figure]:
    if busy:
        yield figure(name, "% of the time in which the GPU computed", [statistics.fmean(busy)], looks=len(busy))


@contextmanager
def _watched() -> Generator[list[float]]:
    """The share of the time in which a kernel ran on the busiest GPU, by NVML, look by look; nothing without one.

    The start of a process and its warm-up are looked at, too, so repeats should be long.
    """
    looks: list[float] = []
    over = threading.Event()
    handles = _gpus()

    def look() -> None:
        while not over.wait(EVERY):
            looks.append(max(float(_nvml().nvmlDeviceGetUtilizationRates(each).gpu) for each in handles))

    watcher = threading.Thread(target=look, daemon=True)
    if handles:
        watcher.start()
    try:
        yield looks
    finally:
        over.set()
        if handles:
            watcher.join()


def _gpus() -> list[Any]:
    nvml = _nvml()
    try:
        nvml.nvmlInit()
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []


def _nvml() -> Any:
    return pynvml  # its functions have no types
