"""The event loop of gateway and runner."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import uvloop

from deploy import allocator


def run_event_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` under uvloop, with a garbage collector that rarely runs and an allocator that keeps freed memory.

    What lives long was made at the start; what comes after it mostly dies by reference counts.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    allocator.keep_large_blocks()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
