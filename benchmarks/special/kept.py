"""A record of a million predictions beside one of a thousand: how much longer a look takes."""

import asyncio
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from benchmarks import record
from benchmarks.samples import Figure
from benchmarks.special.terms import Terms, figure

NAME: Final = "1 M predictions"
FEW: Final = 1_000
MANY: Final = 1_000_000
TIMES: Final = 100
"""That each look is taken in a repeat."""
GET: Final = "one by its id"


def million_predictions(terms: Terms) -> Iterator[Figure]:
    """Of all looks at a page the one that grows most; through the store, which HTTP would only dilute."""
    many = MANY // 20 if terms.quick else MANY
    with _quiet():
        found = asyncio.run(record.ratios((FEW, many), terms.repeats, TIMES, lambda _: None))
    pages = [max(ratio for (what, way), ratio in one.items() if way == "store" and what != GET) for one in found]
    over_http = [max(ratio for (what, way), ratio in one.items() if way == "HTTP" and what != GET) for one in found]
    yield figure(NAME, "page ratio", pages, rows=many, over_http=sorted(over_http)[len(over_http) // 2])
    yield figure(NAME, "get ratio", [one[GET, "store"] for one in found], rows=many)


@contextmanager
def _quiet() -> Generator[None]:
    """The gateways run in this process; what they log is of no interest here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.reset_defaults()
