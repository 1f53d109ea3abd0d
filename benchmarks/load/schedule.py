"""The arrival times of an open loop, drawn beforehand and the same for the same seed."""

import random
from itertools import accumulate, count, takewhile

from benchmarks.samples import Arrivals


def arrivals(kind: Arrivals, rate: float, seconds: float, seed: int) -> list[float]:
    """Return the arrival times in seconds since the beginning, in order, all before `seconds`."""
    if kind == "constant":
        times = (number / rate for number in count())
    else:
        draw = random.Random(seed).expovariate
        times = accumulate(draw(rate) for _ in count())
    return list(takewhile(lambda time: time < seconds, times))
