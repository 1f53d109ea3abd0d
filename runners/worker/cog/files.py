"""`Path` and `File`: inputs and outputs that are files."""

import io
import pathlib
from typing import Any


class Path(pathlib.PosixPath):
    """A file on this host. As an input it is there before `predict` begins, and gone after it."""

    @classmethod
    def validate(cls, value: Any) -> "Path":
        return value if isinstance(value, cls) else cls(value)


class File(io.IOBase):
    """An input that is read rather than opened. Kept for old predictors: use `Path`."""
