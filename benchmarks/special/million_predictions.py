"""A database of a million predictions beside one of a thousand: how much longer queries take."""

import asyncio
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from benchmarks import record
from benchmarks.samples import Figure
from benchmarks.special.options import RowOptions, create_figure

NAME: Final = "1 M predictions"
SMALL_SIZE: Final = 1_000
LARGE_SIZE: Final = 1_000_000
REPETITIONS: Final = 100
"""How often each query is sent in a repeat."""
GET_QUERY: Final = "one by its id"


def million_predictions(options: RowOptions) -> Iterator[Figure]:
    """Measure the ratio of the page that grows most, through the store, which HTTP would only dilute."""
    many = LARGE_SIZE // 20 if options.quick else LARGE_SIZE
    with _silence_logs():
        ratios = asyncio.run(record.measure_ratios((SMALL_SIZE, many), options.repeats, REPETITIONS, lambda _: None))
    pages = [
        max(ratio for (what, way), ratio in by_query.items() if way == "store" and what != GET_QUERY)
        for by_query in ratios
    ]
    over_http = [
        max(ratio for (what, way), ratio in by_query.items() if way == "HTTP" and what != GET_QUERY)
        for by_query in ratios
    ]
    yield create_figure(NAME, "page ratio", pages, rows=many, over_http=sorted(over_http)[len(over_http) // 2])
    yield create_figure(NAME, "get ratio", [by_query[GET_QUERY, "store"] for by_query in ratios], rows=many)


@contextmanager
def _silence_logs() -> Generator[None]:
    """Hide the logs of the gateways in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.reset_defaults()
