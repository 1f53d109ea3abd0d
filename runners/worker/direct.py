"""Runs sync predictors, on the main thread: there a signal can interrupt what they wait for."""

from collections.abc import Callable, Iterator
from typing import NoReturn

from .cog.errors import CancelationException
from .desk import STREAMED, Desk, Raised, Turn
from .frames import Item
from .guard import Guard
from .inbox import Inbox
from .predictor import Predictor


class Direct:
    def __init__(self, predictor: Predictor, inbox: Inbox, desk: Desk, guard: Guard) -> None:
        self._predictor = predictor
        self._inbox = inbox
        self._desk = desk
        self._guard = guard
        self._turn: Turn | None = None

    def work(self) -> NoReturn:
        self._guard.listen(self._stopped)
        while True:
            run = self._inbox.wait()
            if self._guard.knocked:
                self._inbox.look()
            for items in self._desk.calls(run):
                with self._desk.turn(items) as self._turn:
                    self._answer(items, self._turn)
                self._turn = None

    def _answer(self, items: list[Item], turn: Turn) -> None:
        """One call for all of them; if that raises, one for each half, until the culprit stands alone."""
        self._guard.arm()
        if len(items) == 1:
            return self._desk.answer(items[0], turn, self._alone(items[0], turn))
        results = self._attempt(lambda: self._together(items, turn))
        if not isinstance(results, Raised) or self._desk.unwanted(turn):
            return self._desk.share(items, turn, results)
        self._desk.complain(results.error)
        for half in self._desk.halves(items, turn):
            self._answer(half, turn)
        return None

    def _alone(self, item: Item, turn: Turn) -> object:
        result = self._attempt(lambda: self._predictor.predict(**self._desk.read(item, turn)))
        if isinstance(result, Raised):
            return result
        values = self._desk.values(result)
        return result if values is None else self._streamed(item, turn, values)

    def _together(self, items: list[Item], turn: Turn) -> object:
        assert self._predictor.predict_batch is not None
        return self._predictor.predict_batch([self._desk.read(item, turn) for item in items])

    def _streamed(self, item: Item, turn: Turn, values: Iterator[object]) -> object:
        while not self._desk.unwanted(turn):
            value = self._attempt(values.__next__)
            if isinstance(value, Raised):
                return self._close(values, value)
            try:
                self._desk.chunk(item, value)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                return self._close(values, Raised(error))
        return self._close(values, Raised(CancelationException()))

    def _close(self, values: Iterator[object], ending: Raised) -> object:
        """Let a generator clean up. One that was interrupted between two values hears of it where it stands."""
        if isinstance(ending.error, StopIteration):
            return STREAMED
        # Any iterator will do as an output, and most have neither method.
        if isinstance(ending.error, CancelationException) and (throw := getattr(values, "throw", None)):
            self._unwind(lambda: throw(ending.error))
        if close := getattr(values, "close", None):
            self._unwind(close)
        return ending

    def _unwind(self, step: Callable[[], object]) -> None:
        raised = self._attempt(step)
        if isinstance(raised, Raised) and not isinstance(raised.error, CancelationException | StopIteration):
            self._desk.complain(raised.error)

    def _attempt(self, call: Callable[[], object]) -> object:
        """User code: what it returns, or `Raised`."""
        try:
            try:
                self._guard.enter()
                return call()
            finally:
                self._guard.leave()
        except BaseException as error:  # noqa: BLE001  sys.exit and cancelation are answers too
            # An interrupt that came between the call and `leave` skipped it.
            self._guard.leave()
            return Raised(error)

    def _stopped(self) -> bool:
        self._inbox.look()
        return self._turn is not None and self._desk.unwanted(self._turn)
