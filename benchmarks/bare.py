"""A model in a bare loop: what it gives with nothing of ours around it.

`python -m benchmarks.bare FOLDER --sizes 1 32 --seconds 4` says it as JSON; threads are set by OMP_NUM_THREADS, as for
a worker.
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
"""Where `cog` is found, as in a worker."""

ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""What a worker sets by mallopt(3): it keeps what is freed."""


class Looped(Struct, frozen=True, kw_only=True):
    """A loop over batches of one size."""

    size: int
    rate: float
    """Texts per second."""
    began: float
    """Seconds since the epoch."""
    ended: float


def apart(folder: Path, *sizes: int, seconds: float, threads: int) -> list[Looped]:
    """A loop of so many seconds for each size of batch, in one process that has what a worker is given."""
    chosen = ["--sizes", *map(str, sizes), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "benchmarks.bare", str(folder), *chosen]
    env = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    said = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout
    return json.decode(said, type=list[Looped])


def predictor(folder: Path) -> Any:
    sys.path[:0] = [str(folder), str(WORKER)]
    spec = spec_from_file_location("predict", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Predictor()
    made.setup()
    return made


def loop(model: Any, size: int, seconds: float) -> Looped:
    """After one batch that is not counted, as the first of its size has kernels to choose and memory to get."""
    texts = cycle(TEXTS)
    model.embed(list(islice(texts, size)))
    count, at, began = 0, time.time(), time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        model.embed(list(islice(texts, size)))
        count += size
    return Looped(size=size, rate=count / (now - began), began=at, ended=at + now - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=4)
    chosen = parser.parse_args()
    model = predictor(chosen.folder.resolve())
    sys.stdout.buffer.write(json.encode([loop(model, size, chosen.seconds) for size in chosen.sizes]))


if __name__ == "__main__":
    main()
