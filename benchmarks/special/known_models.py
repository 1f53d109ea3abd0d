"""Two hundred known models beside one: the time of a create, and the CPU of idle stacks."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.special.usage import cpu_percent, process_tree
from benchmarks.stack import Stack, running_stack

NAME: Final = "200 models known"
KNOWN_MODELS: Final = 200
WARM_MODELS: Final = 5
CREATES: Final = 300
WINDOW: Final = 15.0  # seconds, so that work every three or five seconds is in all windows as often
SETTLE: Final = 20.0  # seconds after a start, while PostgreSQL and the agent still have work
ENVIRON: Final = {"SAMOVAR_BUNDLED": "false"}


def models_known(options: RowOptions) -> Iterator[Figure]:
    """Measure three stacks at the same time and in turns, so that other load affects all of them.

    One knows only warm models: this separates the cost of known models from that of warm ones.
    """
    count, window, settle = (20, 2.0, 3.0) if options.quick else (KNOWN_MODELS, WINDOW, SETTLE)
    with ExitStack() as exit_stack:
        folder = Path(exit_stack.enter_context(tempfile.TemporaryDirectory(prefix="samovar-known-")))
        stacks = [
            _start_stack(exit_stack, folder, known, warm)
            for known, warm in ((1, 1), (WARM_MODELS, WARM_MODELS), (count, WARM_MODELS))
        ]
        time.sleep(settle)
        idle = [_idle_percents(stacks, window) for _ in range(options.repeats)]
        yield create_figure(
            NAME, "idle CPU ratio", [many / one for one, _, many in idle], **_median_details(idle, "percent")
        )
        yield create_figure(NAME, "idle CPU ratio to 5 known", [many / few for _, few, many in idle])
        latencies = [[uvloop.run(median_create(stack, CREATES)) for stack in stacks] for _ in range(options.repeats)]
        yield create_figure(
            NAME, "create latency ratio", [many / one for one, _, many in latencies], **_median_details(latencies, "ms")
        )


async def median_create(stack: Stack, times: int) -> float:
    """Return the median time of a create without a wait, in milliseconds."""
    client = Client.of(stack)
    (connection,) = await client.connected(1)
    request = client.post(_model_name(0), {"text": "tea"})
    latencies: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await client.create(connection, request)
        latencies.append((time.perf_counter() - began) * 1000)
    connection.close()
    return statistics.median(latencies)


def _start_stack(exit_stack: ExitStack, folder: Path, count: int, warm: int) -> Stack:
    """Start a stack that has so many models."""
    models = folder / str(count)
    for number in range(count):
        _copy_noop(models / _model_name(number))
    folder.chmod(0o755)  # as root, the stack's workers may be other users
    stack = exit_stack.enter_context(running_stack(models=[models], environ=ENVIRON))
    client = Client.of(stack)
    for number in (*range(warm), count - 1):
        uvloop.run(
            client.known(_model_name(number)) if number >= warm else client.warm(_model_name(number), {"text": "tea"})
        )
    return stack


def _copy_noop(folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in ("cog.yaml", "predict.py"):
        (folder / file).write_bytes((MODELS / "noop" / file).read_bytes())


def _model_name(number: int) -> str:
    return f"noop-{number}"


def _idle_percents(stacks: list[Stack], seconds: float) -> list[float]:
    """Return the percentage of a core that each stack uses, in the same seconds."""
    families = [process_tree(stack.up) for stack in stacks]
    with ThreadPoolExecutor(len(stacks)) as pool:
        return list(pool.map(cpu_percent, families, [seconds] * len(families)))


def _median_details(values_by_repeat: list[list[float]], unit: str) -> dict[str, float]:
    medians = [statistics.median(each) for each in zip(*values_by_repeat, strict=True)]
    return {f"{unit}, {known}": value for known, value in zip(("1", "5", "200"), medians, strict=True)}
