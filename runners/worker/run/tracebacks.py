"""Tracebacks as the predictor's author wants to read them: without the worker's own frames."""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

_WORKER_FOLDER: Final = Path(__file__).parents[1]
_SDK_FOLDER: Final = _WORKER_FOLDER / "cog"


def format_error(error: BaseException) -> str:
    """Format an error as Python would print it, from the first frame that is neither ours nor the importer's."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def failing_line(error: BaseException) -> str:
    """Return the file and line of what we called, as deep as that file goes, without a word of the inputs."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_worker_file(frame.filename)]
    inner = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{Path(inner[-1].filename).name}:{inner[-1].lineno}" if inner else ""


def _is_ours(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return _is_worker_file(file) or file.startswith("<frozen importlib")


def _is_worker_file(file: str) -> bool:
    """Return whether a file is the worker's own. The SDK's frames are shown, as they say what was refused."""
    path = Path(file)
    return path.is_relative_to(_WORKER_FOLDER) and not path.is_relative_to(_SDK_FOLDER)
