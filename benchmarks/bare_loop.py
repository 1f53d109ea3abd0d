"""A model in a bare loop: its speed with nothing of ours around it.

`python -m benchmarks.bare_loop FOLDER --sizes 1 32 --seconds 4` prints it as JSON. OMP_NUM_THREADS sets the threads, as
it does for a worker.
"""

import argparse
import os
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, json

from benchmarks.texts import TEXTS

WORKER = Path(__file__).parents[1] / "runners" / "worker"
"""The folder from which `cog` is imported, as in a worker."""

ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""What a worker sets with mallopt(3), so that the allocator keeps freed memory."""


class LoopResult(Struct, frozen=True, kw_only=True):
    """The result of a loop over batches of one size."""

    size: int
    rate: float
    """Texts per second."""
    began: float
    """Seconds since the epoch."""
    ended: float


def run_in_process(folder: Path, *sizes: int, seconds: float, threads: int) -> list[LoopResult]:
    """Run a loop for each size of batch, in one process with the environment that a worker has.

    Each loop takes so many seconds.
    """
    arguments = ["--sizes", *map(str, sizes), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "benchmarks.bare_loop", str(folder), *arguments]
    env = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    output = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout
    return json.decode(output, type=list[LoopResult])


def load_predictor(folder: Path) -> Any:
    """Load the predictor of a folder, and set it up."""
    sys.path[:0] = [str(folder), str(WORKER)]
    spec = spec_from_file_location("predict", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    predictor = module.Predictor()
    predictor.setup()
    return predictor


def run_loop(model: Any, size: int, seconds: float) -> LoopResult:
    """Run a loop over batches of one size, after one batch that is not counted.

    The first batch of its size has kernels to choose and memory to allocate.
    """
    texts = cycle(TEXTS)
    model.embed(list(islice(texts, size)))
    count, at, began = 0, time.time(), time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        model.embed(list(islice(texts, size)))
        count += size
    return LoopResult(size=size, rate=count / (now - began), began=at, ended=at + now - began)


def main() -> None:
    """Print the results of a loop for each size as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    model = load_predictor(arguments.folder.resolve())
    sys.stdout.buffer.write(json.encode([run_loop(model, size, arguments.seconds) for size in arguments.sizes]))


if __name__ == "__main__":
    main()
