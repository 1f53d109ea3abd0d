"""The log of a build or a training, cut at a limit."""

from typing import Final

MAX_LOG_CHARS: Final = 2_000_000
TRUNCATION_NOTE: Final = "\n… the rest of the log is left out\n"


class BoundedLog:
    """A count of the characters that a log may still take.

    The log is kept whole until the end, and with the version that comes of it.
    """

    def __init__(self) -> None:
        self._remaining = MAX_LOG_CHARS

    def cut(self, text: str) -> str:
        """Return as much of the next text as fits, with a note where the log ends."""
        remaining, self._remaining = self._remaining, max(0, self._remaining - len(text))
        if len(text) <= remaining:
            return text
        return text[:remaining] + (TRUNCATION_NOTE if remaining else "")
