"""How a model's batches scale on a GPU, behind everything and in a bare loop, and how busy the GPU is meanwhile."""

import statistics
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
from msgspec import Struct, json

from benchmarks import bare, machine, samples, tables
from benchmarks.bare import Looped
from benchmarks.measure import measure
from benchmarks.plans import INPUTS, request
from benchmarks.samples import Figure, Plan, Repeat
from benchmarks.special.terms import figure
from benchmarks.targets import Target, samovar
from deploy.errors import Unusable

HERE: Final = Path(__file__).parent
FOLDERS: Final = {"minilm": HERE.parents[1] / "runners" / "models" / "minilm", "transformer": HERE / "transformer"}
EVERY: Final = 0.05  # seconds between two looks at the GPU
BUSY: Final = "% of the time in which the GPU computed"
TOGETHER: Final = "predictions per batch"
BARE: Final = "bare loop"

Measured = Repeat | Figure
Progress = Callable[[str], None]


class Wish(Struct, frozen=True, kw_only=True):
    models: Sequence[str]
    sizes: Sequence[int]
    """Of batches in the bare loop, and as many clients behind the gateway."""
    repeats: int
    seconds: float
    gateways: int
    out: Path
    anyway: bool
    """Also where there is no GPU: to see that it works."""


def scaling(wish: Wish, tell: Progress) -> None:
    """What was measured before something failed is kept. Raises `Unusable` where there is no GPU."""
    handles = machine.gpus()
    if not wish.anyway and not handles:
        raise Unusable("There is no NVIDIA GPU here, so there is nothing to measure; --anyway runs it on the CPU.")
    measured: list[Measured] = []
    try:
        with _watched(handles) as watched:
            for model in wish.models:
                measured += _alone(model, watched, wish, tell)
            with samovar(models=[HERE / "transformer"], gateways=wish.gateways) as target:
                for model in wish.models:
                    measured += _behind(model, target, watched, wish, tell)
    finally:
        samples.write(wish.out, measured)
        tell(f"raw data: {wish.out}")
    tables.show(measured)


class Watched:
    """When a kernel ran on the busiest GPU, as NVML has it."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, float]] = []

    def look(self, handles: Sequence[Any]) -> None:
        busy = max(float(machine.nvml().nvmlDeviceGetUtilizationRates(each).gpu) for each in handles)
        self._looks.append((time.time(), busy))

    def shares(self, name: str, target: str, spans: Sequence[tuple[float, float]]) -> list[Figure]:
        """Mean percentages of these spans, seconds since the epoch; no figure where nobody looked."""
        seen = [[busy for at, busy in self._looks if began <= at <= ended] for began, ended in spans]
        values = [statistics.fmean(busy) for busy in seen if busy]
        return [figure(name, BUSY, values, target)] if values else []


@contextmanager
def _watched(handles: Sequence[Any]) -> Generator[Watched]:
    watched, over = Watched(), threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            watched.look(handles)

    watcher = threading.Thread(target=look, daemon=True)
    if handles:
        watcher.start()
    try:
        yield watched
    finally:
        over.set()
        if handles:
            watcher.join()


def _alone(model: str, watched: Watched, wish: Wish, tell: Progress) -> Generator[Figure]:
    """Each repeat is a process that goes through all sizes."""
    repeats: list[list[Looped]] = []
    for number in range(1, wish.repeats + 1):
        repeats.append(bare.apart(FOLDERS[model], *wish.sizes, seconds=wish.seconds, threads=machine.threads()))
        found = ", ".join(f"{each.rate:.0f}/s by {each.size}" for each in repeats[-1])
        tell(f"{model}, bare loop: repeat {number} of {wish.repeats}: {found}")
    for of_size in zip(*repeats, strict=True):
        name = f"{model}, batches of {of_size[0].size}"
        yield figure(name, "texts/s", [each.rate for each in of_size], BARE)
        yield from watched.shares(name, BARE, [(each.began, each.ended) for each in of_size])


def _behind(model: str, target: Target, watched: Watched, wish: Wish, tell: Progress) -> Generator[Measured]:
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
        repeats = measure(plan, target, progress=tell)
        yield from repeats
        yield figure(plan.name, TOGETHER, [_together(target)], target.name)
        yield from watched.shares(plan.name, target.name, [_span(repeat) for repeat in repeats])


def _span(repeat: Repeat) -> tuple[float, float]:
    began = datetime.fromisoformat(repeat.at).timestamp()
    return began, began + repeat.seconds


class _Metrics(Struct, frozen=True):
    batch_size: int = 1


class _Prediction(Struct, frozen=True):
    metrics: _Metrics = _Metrics()


class _Page(Struct, frozen=True):
    results: list[_Prediction]


def _together(target: Target) -> float:
    """Of those that ended last, how many shared a batch, on average over the predictions."""
    headers = {"Authorization": f"Bearer {target.token}"}
    page = httpx.get(f"{target.url}/v1/predictions", headers=headers, timeout=30).raise_for_status()
    return statistics.fmean(each.metrics.batch_size for each in json.decode(page.content, type=_Page).results)
