"""Runs sync predictors, on the main thread: there a signal can interrupt what they wait for."""

from collections.abc import Callable, Coroutine, Iterator
from typing import NoReturn, cast

from .cog.errors import CancelationException
from .desk import STREAMED, Desk, Raised, Turn
from .frames import Item, Park
from .guard import Guard
from .health import found
from .inbox import Inbox
from .memory import Memory
from .predictor import Predictor, Run


class Direct:
    def __init__(
        self, predictor: Predictor, inbox: Inbox, desk: Desk, guard: Guard, memory: Memory, run: Run | None
    ) -> None:
        self._predictor = predictor
        self._inbox = inbox
        self._desk = desk
        self._guard = guard
        self._memory = memory
        self._run = run
        self._turn: Turn | None = None

    def work(self) -> NoReturn:
        self._guard.listen(self._stopped)
        while True:
            run = self._inbox.wait()
            if self._guard.knocked:
                self._inbox.look()
            if run is None:
                self._say_how_it_is()
                continue
            if isinstance(run, Park):
                self._memory.answer(run)
                continue
            for items in self._desk.calls(run):
                with self._desk.turn(items) as self._turn:
                    self._answer(items, self._turn)
                self._turn = None
                self._memory.tell()

    def _answer(self, items: list[Item], turn: Turn) -> None:
        """One call for all of them; if that raises, one for each half, until the culprit stands alone."""
        self._guard.arm()
        if len(items) == 1:
            return self._desk.answer(items[0], turn, self._alone(items[0], turn))
        results = self._attempt(lambda: self._together(items, turn))
        if not isinstance(results, Raised) or self._desk.unwanted(turn):
            return self._desk.share(items, turn, results)
        self._desk.complain(results.error, turn.running)
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
                return self._close(item, values, value)
            try:
                self._desk.chunk(item, turn, value)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                return self._close(item, values, Raised(error))
        return self._close(item, values, Raised(CancelationException()))

    def _close(self, item: Item, values: Iterator[object], ending: Raised) -> object:
        """Let a generator clean up. One that was interrupted between two values hears of it where it stands."""
        if isinstance(ending.error, StopIteration):
            return STREAMED
        # Any iterator will do as an output, and most have neither method.
        if isinstance(ending.error, CancelationException) and (throw := getattr(values, "throw", None)):
            self._unwind(item, lambda: throw(ending.error))
        if close := getattr(values, "close", None):
            self._unwind(item, close)
        return ending

    def _unwind(self, item: Item, step: Callable[[], object]) -> None:
        raised = self._attempt(step)
        if isinstance(raised, Raised) and not isinstance(raised.error, CancelationException | StopIteration):
            self._desk.complain(raised.error, [item.id])

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

    def _say_how_it_is(self) -> None:
        """Asked several times, it answers as often, after one look."""
        check = self._predictor.healthcheck
        error = None if check is None else found(self._attempt(lambda: self._finished(check())))
        for _ in range(self._inbox.asked()):
            self._desk.well(error)

    def _finished(self, result: object) -> object:
        if not isinstance(result, Coroutine):
            return result
        from .serve import loop

        self._run = self._run or loop()
        return self._run(cast("Coroutine[object, object, object]", result))

    def _stopped(self) -> bool:
        self._inbox.look()
        return self._turn is not None and self._desk.unwanted(self._turn)
