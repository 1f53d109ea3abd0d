"""Running out of memory: recognizing it, and recovering from it."""

import gc
import re
import sys
import traceback
from contextlib import suppress
from typing import Any, Final

_MESSAGE: Final = re.compile(r"out of memory|(can't|cannot|failed to) allocate memory|ALLOC_FAILED", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether user code asked for memory of any device and did not get it. Torch need not be there to tell."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_MESSAGE.search(str(error))))


def release_memory_of(error: BaseException) -> None:
    """Let go of what the call that raised this still held, and give caches back to their devices."""
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = error.__cause__ = error.__context__ = None
    gc.collect()
    torch: Any = sys.modules.get("torch")
    with suppress(Exception):  # half imported, or a device that is past help
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
