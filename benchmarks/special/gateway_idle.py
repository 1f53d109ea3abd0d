"""An idle gateway: its memory and its CPU."""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks import processes
from benchmarks.samples import Figure
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.special.usage import cpu_percent, process_tree, resident_bytes
from benchmarks.stack import running_stack

NAME: Final = "gateway idle"
SETTLE: Final = 5.0  # seconds after the start
WINDOW: Final = 6.0


def gateway_idle(options: RowOptions) -> Iterator[Figure]:
    """Measure the gateways of a stack without requests."""
    with running_stack() as stack:
        gateways = processes.find(stack, "gateway")
        time.sleep(SETTLE)
        shares: list[float] = []
        sizes: list[float] = []
        for _ in range(options.repeats):
            shares.append(cpu_percent(gateways, 2.0 if options.quick else WINDOW))
            sizes.append(sum(map(resident_bytes, gateways)) / 1e6)
        all_percent = cpu_percent(process_tree(stack.up), 2.0 if options.quick else WINDOW)
    yield create_figure(NAME, "MB", sizes, processes=len(gateways))
    yield create_figure(NAME, "% of a core", shares, everything=all_percent)
