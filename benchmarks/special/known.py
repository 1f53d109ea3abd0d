"""Two hundred models known beside one: whether a create takes longer, and what nobody's asking costs."""

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
from benchmarks.special.cost import busy, family
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import Stack, running

NAME: Final = "200 models known"
MANY: Final = 200
WARM: Final = 5
CREATES: Final = 300
WINDOW: Final = 15.0  # seconds: what is done every five, and every three, is in all windows as often
SETTLE: Final = 20.0  # after a start, of which PostgreSQL and the agent have something left to do
ENVIRON: Final = {"SAMOVAR_BUNDLED": "false"}


def models_known(terms: Terms) -> Iterator[Figure]:
    """All stacks run at the same time and are asked in turns: what else the machine does befalls all of them.

    One knows just the models that are warm: what the others add is told apart from what warm ones cost.
    """
    count, window, settle = (20, 2.0, 3.0) if terms.quick else (MANY, WINDOW, SETTLE)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="samovar-known-")))
        stacks = [_known(opened, folder, known, warm) for known, warm in ((1, 1), (WARM, WARM), (count, WARM))]
        time.sleep(settle)
        idle = [_idle(stacks, window) for _ in range(terms.repeats)]
        yield figure(NAME, "idle CPU ratio", [many / one for one, _, many in idle], **_medians(idle, "percent"))
        yield figure(NAME, "idle CPU ratio to 5 known", [many / few for _, few, many in idle])
        took = [[uvloop.run(creates(stack, CREATES)) for stack in stacks] for _ in range(terms.repeats)]
        yield figure(NAME, "create latency ratio", [many / one for one, _, many in took], **_medians(took, "ms"))


async def creates(stack: Stack, times: int) -> float:
    """Milliseconds of a create that is not waited for: the median."""
    client = Client.of(stack)
    (connection,) = await client.connected(1)
    request = client.post(_name(0), {"text": "tea"})
    found: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await client.create(connection, request)
        found.append((time.perf_counter() - began) * 1000)
    connection.close()
    return statistics.median(found)


def _known(opened: ExitStack, folder: Path, count: int, warm: int) -> Stack:
    """A stack that was given so many models."""
    models = folder / str(count)
    for number in range(count):
        _copy(models / _name(number))
    folder.chmod(0o755)  # as root, the stack's workers may be other users
    stack = opened.enter_context(running(models=[models], environ=ENVIRON))
    client = Client.of(stack)
    for number in (*range(warm), count - 1):
        uvloop.run(client.known(_name(number)) if number >= warm else client.warm(_name(number), {"text": "tea"}))
    return stack


def _copy(folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in ("cog.yaml", "predict.py"):
        (folder / file).write_bytes((MODELS / "noop" / file).read_bytes())


def _name(number: int) -> str:
    return f"noop-{number}"


def _idle(stacks: list[Stack], seconds: float) -> list[float]:
    """Percent of a core that all processes of each use, in the same seconds."""
    families = [family(stack.up) for stack in stacks]
    with ThreadPoolExecutor(len(stacks)) as pool:
        return list(pool.map(busy, families, [seconds] * len(families)))


def _medians(found: list[list[float]], unit: str) -> dict[str, float]:
    medians = [statistics.median(each) for each in zip(*found, strict=True)]
    return {f"{unit}, {known}": value for known, value in zip(("1", "5", "200"), medians, strict=True)}
