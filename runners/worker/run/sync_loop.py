"""Runs sync predictors, on the main thread: there a signal can interrupt what they wait for."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, cast

from ..cog.errors import CancelationException
from ..devices.parking import Memory
from ..frames import Item, Park
from ..predictor.loader import Predictor, Run
from .batch import Batch, steps
from .call import STREAMED, Raised, Turn
from .healthcheck import found
from .interrupts import Guard
from .requests import Inbox
from .responder import Desk


class Direct:
    def __init__(
        self, predictor: Predictor, inbox: Inbox, desk: Desk, guard: Guard, memory: Memory, run: Run | None
    ) -> None:
        self._predictor = predictor
        self._inbox = inbox
        self._desk = desk
        self._batch = Batch(predictor, desk)
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
            self._desk.answer(items[0], turn, self._alone(items[0], turn))
            return
        for fewer in self._batch.settled(turn, self._together(turn)):
            self._answer(fewer, turn)

    def _alone(self, item: Item, turn: Turn) -> object:
        result = self._attempt(lambda: self._predictor.predict(**self._desk.read(item, turn)))
        if isinstance(result, Raised):
            return result
        values = self._desk.values(result)
        if values is None:
            return result
        return self._streamed(turn, values, lambda value: self._desk.chunk(item, turn, value))

    def _together(self, turn: Turn) -> object:
        batch = cast("Callable[[list[dict[str, Any]]], object]", self._predictor.predict_batch)
        result = self._attempt(lambda: batch(self._batch.inputs(turn)))
        values = steps(result)
        return result if values is None else self._streamed(turn, values, lambda value: self._batch.step(turn, value))

    def _streamed(self, turn: Turn, values: Iterator[object], take: Callable[[object], None]) -> object:
        while self._desk.wanted(turn):
            value = self._attempt(values.__next__)
            if isinstance(value, Raised):
                return self._close(turn, values, value)
            try:
                take(value)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                return self._close(turn, values, Raised(error))
        if turn.open:
            return self._close(turn, values, Raised(CancelationException()))
        self._close(turn, values, Raised(GeneratorExit()))
        return STREAMED

    def _close(self, turn: Turn, values: Iterator[object], ending: Raised) -> object:
        """Let a generator clean up. One that was interrupted between two values hears of it where it stands."""
        if isinstance(ending.error, StopIteration):
            return STREAMED
        # Any iterator will do as an output, and most have neither method.
        if isinstance(ending.error, CancelationException) and (throw := getattr(values, "throw", None)):
            self._unwind(turn, lambda: throw(ending.error))
        if close := getattr(values, "close", None):
            self._unwind(turn, close)
        return ending

    def _unwind(self, turn: Turn, step: Callable[[], object]) -> None:
        raised = self._attempt(step)
        if isinstance(raised, Raised) and not isinstance(raised.error, CancelationException | StopIteration):
            self._desk.complain(raised.error, turn.ids)

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
        from ..predictor.loader import loop

        self._run = self._run or loop()
        return self._run(cast("Coroutine[object, object, object]", result))

    def _stopped(self) -> bool:
        self._inbox.look()
        self._desk.withdraw()
        if self._turn is None:
            return False
        self._desk.dismiss(self._turn)
        return self._desk.unwanted(self._turn)
