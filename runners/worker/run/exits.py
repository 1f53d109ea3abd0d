"""Reports of `os._exit` in a set-up, which leaves no trace of itself."""

import inspect
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


@contextmanager
def report_exits(folder: Path, report: Callable[[str, str | None, int | None], None]) -> Generator[None]:
    """Pass the reason, the file and the line of an `os._exit` to `report` before this process ends.

    Forked children end as they like.
    """
    original, our_pid = os._exit, os.getpid()

    def exit(status: int) -> None:
        if os.getpid() == our_pid:
            report(f"The predictor called os._exit({status!r})", *_deepest_line(inspect.currentframe(), folder))
        original(status)

    os._exit = exit  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        os._exit = original


def _deepest_line(frame: FrameType | None, folder: Path) -> tuple[str | None, int | None]:
    """Return the deepest file and line in the predictor's folder."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(folder):
            return str(file.relative_to(folder)), frame.f_lineno
        frame = frame.f_back
    return None, None
