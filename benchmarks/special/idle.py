"""A gateway that nobody asks anything: its memory and its CPU."""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks import processes
from benchmarks.samples import Figure
from benchmarks.special.cost import busy, family, resident
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import running

NAME: Final = "gateway idle"
SETTLE: Final = 5.0  # seconds after the start
WINDOW: Final = 6.0


def gateway_idle(terms: Terms) -> Iterator[Figure]:
    with running() as stack:
        gateways = processes.find(stack, "gateway")
        time.sleep(SETTLE)
        shares: list[float] = []
        sizes: list[float] = []
        for _ in range(terms.repeats):
            shares.append(busy(gateways, 2.0 if terms.quick else WINDOW))
            sizes.append(sum(map(resident, gateways)) / 1e6)
        everything = busy(family(stack.up), 2.0 if terms.quick else WINDOW)
    yield figure(NAME, "MB", sizes, processes=len(gateways))
    yield figure(NAME, "% of a core", shares, everything=everything)
