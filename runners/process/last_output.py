"""What a worker printed and did not pass on itself: what is left in its pipes once it is gone."""

import os
from contextlib import suppress
from typing import Final

LONGEST: Final = 100_000  # bytes of each pipe


class Words:
    """Two pipes. The worker reads its own stdout and stderr from the first; the second is for a dying interpreter.

    With one alone, a worker could take its own last words out of the pipe and be dead before it said them.
    """

    def __init__(self) -> None:
        self.printed, self.output = os.pipe()
        self._dying, self.fault = os.pipe()
        self._open = [self.printed, self._dying]
        # A full pipe must not keep the dying alive.
        for fd in (self.printed, self._dying, self.fault):
            os.set_blocking(fd, False)

    def passed_on(self) -> None:
        """The worker has its ends."""
        os.close(self.output)
        os.close(self.fault)

    def take(self) -> str:
        """All that is left; nothing, the second time."""
        pipes, self._open = self._open, []
        return "".join(_rest(fd) for fd in pipes).replace("\0", "\ufffd")


def _rest(fd: int) -> str:
    said = b""
    with suppress(BlockingIOError):
        while piece := os.read(fd, 65536):
            said = (said + piece)[-LONGEST:]
    os.close(fd)
    return said.decode(errors="replace")
