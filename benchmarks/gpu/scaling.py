"""Measures how a model's batches scale on a GPU: in a bare loop, behind the gateway, and how busy the GPU is."""

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

from benchmarks import bare_loop, machine, samples, tables
from benchmarks.bare_loop import LoopResult
from benchmarks.measure import measure
from benchmarks.plans import INPUTS, create_request
from benchmarks.samples import Figure, Plan, Repeat
from benchmarks.special.options import create_figure
from benchmarks.targets import Target, start_samovar
from deploy.errors import UsageError

HERE: Final = Path(__file__).parent
FOLDERS: Final = {"minilm": HERE.parents[1] / "runners" / "models" / "minilm", "transformer": HERE / "transformer"}
LOOK_SECONDS: Final = 0.05  # seconds between two looks at the GPU
BUSY_FIGURE: Final = "% of the time in which the GPU computed"
BATCH_FIGURE: Final = "predictions per batch"
BARE: Final = "bare loop"

Result = Repeat | Figure
Progress = Callable[[str], None]


class ScalingOptions(Struct, frozen=True, kw_only=True):
    """The options of the command."""

    models: Sequence[str]
    sizes: Sequence[int]
    """Sizes of batches in the bare loop, and numbers of clients behind the gateway."""
    repeats: int
    seconds: float
    gateways: int
    out: Path
    allow_cpu: bool
    """Run without a GPU, too, to see that it works."""


def measure_scaling(options: ScalingOptions, report: Progress) -> None:
    """Measure all models; what was measured before a failure is written all the same.

    Raises `UsageError` without a GPU.
    """
    handles = machine.gpu_handles()
    if not options.allow_cpu and not handles:
        raise UsageError("This machine has no NVIDIA GPU, so there is nothing to measure; --anyway uses the CPU.")
    measured: list[Result] = []
    try:
        with _watch_gpus(handles) as usage:
            for model in options.models:
                measured += _measure_bare_loop(model, usage, options, report)
            with start_samovar(models=[HERE / "transformer"], gateways=options.gateways) as target:
                for model in options.models:
                    measured += _measure_gateway(model, target, usage, options, report)
    finally:
        samples.write_measurements(options.out, measured)
        report(f"raw data: {options.out}")
    tables.print_tables(measured)


class GpuUsage:
    """The utilization of the busiest GPU over time, as NVML reports it."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []

    def sample(self, handles: Sequence[Any]) -> None:
        """Record the utilization of the busiest GPU."""
        busy = max(float(machine.nvml().nvmlDeviceGetUtilizationRates(each).gpu) for each in handles)
        self._samples.append((time.time(), busy))

    def shares(self, name: str, target: str, spans: Sequence[tuple[float, float]]) -> list[Figure]:
        """Return the mean percentages of these spans, in seconds since the epoch; no figure without samples."""
        samples = [[busy for at, busy in self._samples if began <= at <= ended] for began, ended in spans]
        values = [statistics.fmean(busy) for busy in samples if busy]
        return [create_figure(name, BUSY_FIGURE, values, target)] if values else []


@contextmanager
def _watch_gpus(handles: Sequence[Any]) -> Generator[GpuUsage]:
    usage, over = GpuUsage(), threading.Event()

    def sample() -> None:
        while not over.wait(LOOK_SECONDS):
            usage.sample(handles)

    watcher = threading.Thread(target=sample, daemon=True)
    if handles:
        watcher.start()
    try:
        yield usage
    finally:
        over.set()
        if handles:
            watcher.join()


def _measure_bare_loop(model: str, usage: GpuUsage, options: ScalingOptions, report: Progress) -> Generator[Figure]:
    """Measure the bare loop; each repeat is a process that goes through all sizes."""
    repeats: list[list[LoopResult]] = []
    for number in range(1, options.repeats + 1):
        repeats.append(
            bare_loop.run_in_process(
                FOLDERS[model], *options.sizes, seconds=options.seconds, threads=machine.model_threads()
            )
        )
        rates = ", ".join(f"{each.rate:.0f}/s by {each.size}" for each in repeats[-1])
        report(f"{model}, bare loop: repeat {number} of {options.repeats}: {rates}")
    for of_size in zip(*repeats, strict=True):
        name = f"{model}, batches of {of_size[0].size}"
        yield create_figure(name, "texts/s", [each.rate for each in of_size], BARE)
        yield from usage.shares(name, BARE, [(each.began, each.ended) for each in of_size])


def _measure_gateway(
    model: str, target: Target, usage: GpuUsage, options: ScalingOptions, report: Progress
) -> Generator[Result]:
    for clients in options.sizes:
        plan = Plan(
            name=f"{model}, {clients} client{'s' * (clients > 1)}",
            target=target.name,
            url=target.url,
            protocol="sync",
            requests=[create_request(model, input) for input in INPUTS["minilm"]],
            clients=clients,
            seconds=options.seconds,
            repeats=options.repeats,
            expect='"succeeded"',
        )
        repeats = measure(plan, target, progress=report)
        yield from repeats
        yield create_figure(plan.name, BATCH_FIGURE, [_mean_batch_size(target)], target.name)
        yield from usage.shares(plan.name, target.name, [_span(repeat) for repeat in repeats])


def _span(repeat: Repeat) -> tuple[float, float]:
    began = datetime.fromisoformat(repeat.at).timestamp()
    return began, began + repeat.seconds


class _Metrics(Struct, frozen=True):
    batch_size: int = 1


class _Prediction(Struct, frozen=True):
    metrics: _Metrics = _Metrics()


class _Page(Struct, frozen=True):
    results: list[_Prediction]


def _mean_batch_size(target: Target) -> float:
    """Return the mean size of the batches that the last predictions were in."""
    headers = {"Authorization": f"Bearer {target.token}"}
    page = httpx.get(f"{target.url}/v1/predictions", headers=headers, timeout=30).raise_for_status()
    return statistics.fmean(each.metrics.batch_size for each in json.decode(page.content, type=_Page).results)
