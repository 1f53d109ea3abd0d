"""The last output of a worker process: what it printed and did not pass on itself before it ended."""

import os
from contextlib import suppress
from typing import Final

MAX_PIPE_BYTES: Final = 100_000  # of each pipe


class LastOutput:
    """Two pipes: the worker reads its own stdout and stderr from the first; a dying interpreter writes to the second.

    With one pipe alone, a worker could take its own fatal error out of the pipe and be dead before it passed it on.
    """

    def __init__(self) -> None:
        self.output_reader, self.output_writer = os.pipe()
        self._fault_reader, self.fault_writer = os.pipe()
        self._open = [self.output_reader, self._fault_reader]
        # A dying process must not block on a full pipe.
        for fd in (self.output_reader, self._fault_reader, self.fault_writer):
            os.set_blocking(fd, False)

    def close_worker_ends(self) -> None:
        """Close our copies of the writing ends, once the worker has its own."""
        os.close(self.output_writer)
        os.close(self.fault_writer)

    def read_rest(self) -> str:
        """Return what is left in both pipes and close them; empty the second time."""
        pipes, self._open = self._open, []
        return "".join(_read_rest(fd) for fd in pipes).replace("\0", "\ufffd")


def _read_rest(fd: int) -> str:
    rest = b""
    with suppress(BlockingIOError):
        while piece := os.read(fd, 65536):
            rest = (rest + piece)[-MAX_PIPE_BYTES:]
    os.close(fd)
    return rest.decode(errors="replace")
