"""`os._exit` in a set-up, which leaves no trace of itself: it is told where it was called."""

import inspect
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


@contextmanager
def told(folder: Path, tell: Callable[[str, str | None, int | None], None]) -> Generator[None]:
    """`tell` gets the reason, the file and the line before this process ends; its forked children end as they like."""
    leave, ours = os._exit, os.getpid()

    def exit(status: int) -> None:
        if os.getpid() == ours:
            tell(f"The predictor called os._exit({status!r})", *_place(inspect.currentframe(), folder))
        leave(status)

    os._exit = exit  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        os._exit = leave


def _place(frame: FrameType | None, folder: Path) -> tuple[str | None, int | None]:
    """The deepest of the predictor's own."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(folder):
            return str(file.relative_to(folder)), frame.f_lineno
        frame = frame.f_back
    return None, None
