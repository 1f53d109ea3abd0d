"""Interrupts: a stop may interrupt user code, once per call, and nothing else.

The agent sends SIGUSR1. Python runs the handler on the main thread between any two instructions, and what it raises
also ends `time.sleep` and `subprocess.run`. In our own code (a frame half sent, a lock held) it only takes note, and
the way back into user code delivers the interrupt.
"""

import signal
from collections.abc import Callable
from threading import get_ident
from types import FrameType

from ..cog.errors import CancelationException


class Interrupts:
    """Delivers interrupts to user code on the main thread.

    The loops enter and leave user code with it. As a context manager it shields our own code that user code calls.
    """

    def __init__(self) -> None:
        self._is_abandoned: Callable[[], bool] = lambda: False
        self._thread = get_ident()
        self._shields = 1
        """How often our own code has been entered; at 0 user code runs."""
        self._delivered = False
        self.is_pending = False
        """Whether a signal came that has not been looked into."""

    def install(self, is_abandoned: Callable[[], bool]) -> None:
        """Handle the signal. `is_abandoned` reads the requests, and says whether nobody waits for what runs."""
        self._is_abandoned = is_abandoned
        signal.signal(signal.SIGUSR1, self._on_signal)

    def rearm(self) -> None:
        """Allow one interrupt more: a new call begins."""
        self._delivered = False

    def enter_user_code(self) -> None:
        """Let interrupts through from here. Raises at once if a stop came before."""
        self._shields = 0
        if self.is_pending:
            self._deliver()

    def leave_user_code(self) -> None:
        """Hold interrupts back from here."""
        self._shields = 1

    def __enter__(self) -> None:
        if get_ident() == self._thread:
            self._shields += 1

    def __exit__(self, *_: object) -> None:
        if get_ident() == self._thread:
            self._shields -= 1
            if self.is_pending and not self._shields:
                self._deliver()

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self.is_pending = True
        if not self._shields:
            self._deliver()

    def _deliver(self) -> None:
        is_abandoned = False
        while self.is_pending:
            self._shields += 1
            self.is_pending = False
            is_abandoned = self._is_abandoned() or is_abandoned
            self._shields -= 1
        if is_abandoned and not self._delivered:
            self._delivered = True
            raise CancelationException
