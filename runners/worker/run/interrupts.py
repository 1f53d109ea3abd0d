"""Where a stop may interrupt: in user code, once and nowhere else.

The agent knocks with SIGUSR1. Python runs the handler on the main thread between any two instructions, and what it
raises also ends `time.sleep` and `subprocess.run`. In our own code (a frame half sent, a lock held) it only takes note,
and the way back into user code answers.
"""

import signal
from collections.abc import Callable
from threading import get_ident
from types import FrameType

from ..cog.errors import CancelationException


class Guard:
    def __init__(self) -> None:
        self._stopped: Callable[[], bool] = lambda: False
        self._thread = get_ident()
        self._ours = 1
        self._raised = False
        self.knocked = False

    def listen(self, stopped: Callable[[], bool]) -> None:
        """`stopped` reads the mail, and says whether nobody wants what runs now."""
        self._stopped = stopped
        signal.signal(signal.SIGUSR1, self._knock)

    def arm(self) -> None:
        """A new turn: it may be interrupted, once."""
        self._raised = False

    def enter(self) -> None:
        """User code begins; raises instead if a stop came before."""
        self._ours = 0
        if self.knocked:
            self._answer()

    def leave(self) -> None:
        self._ours = 1

    def __enter__(self) -> None:
        """Our own code, called by user code."""
        if get_ident() == self._thread:
            self._ours += 1

    def __exit__(self, *_: object) -> None:
        if get_ident() == self._thread:
            self._ours -= 1
            if self.knocked and not self._ours:
                self._answer()

    def _knock(self, _signal: int, _frame: FrameType | None) -> None:
        self.knocked = True
        if not self._ours:
            self._answer()

    def _answer(self) -> None:
        wanted = False
        while self.knocked:
            self._ours += 1
            self.knocked = False
            wanted = self._stopped() or wanted
            self._ours -= 1
        if wanted and not self._raised:
            self._raised = True
            raise CancelationException
