"""What one call for many gave, item by item, and what is called instead when it failed."""

from collections.abc import Iterator
from io import IOBase
from typing import Any, cast

from ..frames import Item
from ..io.outputs import BadOutput
from ..predictor.loader import Predictor
from .call import STREAMED, Raised, Turn
from .out_of_memory import is_shortage, relieve
from .responder import Desk
from .tracebacks import place


class Unread(Exception):
    """Some inputs cannot be read."""

    def __init__(self, reasons: dict[str, Exception]) -> None:
        self.reasons = reasons
        """By the item's id."""


class Batch:
    def __init__(self, predictor: Predictor, desk: Desk) -> None:
        self._streams = predictor.streams
        self._desk = desk

    def inputs(self, turn: Turn) -> list[dict[str, Any]]:
        """Raises `Unread`."""
        found: list[dict[str, Any]] = []
        reasons: dict[str, Exception] = {}
        for item in turn.items:
            try:
                found.append(self._desk.read(item, turn))
            except Exception as error:  # noqa: BLE001  one must not fail its neighbours
                reasons[item.id] = error
        if reasons:
            raise Unread(reasons)
        return found

    def settled(self, turn: Turn, results: object) -> Iterator[list[Item]]:
        """Answer all with what the call gave; if it raised, yield the items of each call that is to be made instead."""
        if self._desk.unwanted(turn) or not isinstance(results, Raised) or isinstance(results.error, BadOutput):
            with self._desk.gathered():
                self._share(turn, results)
        elif isinstance(results.error, Unread):
            for id, reason in results.error.reasons.items():
                if id in turn.open:
                    self._desk.answer(turn.open[id], turn, Raised(reason))
            yield from self._seated(turn, [list(turn.open.values())])
        else:
            yield from self._seated(turn, self._smaller(turn, results.error))

    def step(self, turn: Turn, values: object) -> None:
        """What a generator yielded: for each item a chunk, its end, or None. Raises `BadOutput`."""
        outputs = _listed(values)
        if outputs is None or len(outputs) != len(turn.items):
            got = type(values).__name__ if outputs is None else f"{len(outputs)} values"
            wanted = f"a list of {len(turn.items)} values at each step, one per input"
            raise BadOutput(f"predict_batch must yield {wanted}; it gave {got}")
        before = len(turn.open)
        with self._desk.gathered():
            for item, output in zip(turn.items, outputs, strict=True):
                if item.id in turn.open and output is not None:
                    self._take(item, turn, output)
        if len(turn.open) < before:
            self._desk.close_ranks(turn)

    def _take(self, item: Item, turn: Turn, output: object) -> None:
        if isinstance(output, StopIteration) or output is StopIteration:
            self._end(item, turn)
        elif isinstance(output, Exception):
            self._desk.answer(item, turn, Raised(output))
        elif self._streams:
            try:
                self._desk.chunk(item, turn, output)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                self._desk.answer(item, turn, Raised(error))
        else:
            self._desk.answer(item, turn, output)

    def _end(self, item: Item, turn: Turn) -> None:
        if self._streams:
            self._desk.answer(item, turn, STREAMED)
        else:
            self._desk.answer(item, turn, Raised(BadOutput("predict_batch ended without an output for this input")))

    def _share(self, turn: Turn, results: object) -> None:
        waiting = list(turn.open.values())
        if isinstance(results, Raised):
            for item in waiting:
                self._desk.answer(item, turn, results)
        elif results is STREAMED:
            for item in waiting:
                self._end(item, turn)
        elif (outputs := _listed(results)) is not None and len(outputs) == len(turn.items):
            for item, output in zip(turn.items, outputs, strict=True):
                if item.id in turn.open:
                    self._give(item, turn, output)
        else:
            got = type(results).__name__ if outputs is None else f"{len(outputs)} outputs"
            wanted = f"a list of {len(turn.items)} outputs, one per input"
            self._share(turn, Raised(BadOutput(f"predict_batch must return {wanted}; it gave {got}")))

    def _give(self, item: Item, turn: Turn, output: object) -> None:
        if isinstance(output, Exception):
            self._desk.answer(item, turn, Raised(output))
        elif self._streams and isinstance(output, list | tuple):
            for chunk in cast("list[object]", output):
                self._take(item, turn, chunk)
            if item.id in turn.open:
                self._end(item, turn)
        else:
            self._desk.answer(item, turn, output)

    def _smaller(self, turn: Turn, error: BaseException) -> list[list[Item]]:
        """Halves of those of whom nothing was said. The others start over: what was said cannot be taken back here."""
        for item in [item for item in turn.open.values() if item.id in turn.said]:
            self._desk.start_over(item, turn)
        silent = list(turn.open.values())
        middle = (len(silent) + 1) // 2
        size, short = len(turn.items), is_shortage(error)
        if silent:
            why = "ran out of memory" if short else f"failed ({type(error).__name__}, {place(error)})"
            self._desk.tell(f"a batch of {size} {why}; trying {middle}\n", turn.ids)
        if short:
            relieve(error)
            turn.short = min(turn.short or size, size)
            if turn.went >= size:  # it had answered some
                turn.went = 0
        return [silent[:middle], silent[middle:]]

    def _seated(self, turn: Turn, calls: list[list[Item]]) -> Iterator[list[Item]]:
        turn.later |= {item.id: item for items in calls for item in items}
        for items in calls:
            left = [item for item in items if turn.later.pop(item.id, None) is not None]
            if wanted := self._desk.admit(left, turn):
                self._desk.seat(turn, wanted)
                yield wanted


def steps(result: object) -> Iterator[object] | None:
    """Of a batch whose outputs come one after another."""
    return cast("Iterator[object]", result) if isinstance(result, Iterator) and not isinstance(result, IOBase) else None


def _listed(values: Any) -> list[Any] | None:
    countable = hasattr(values, "__len__") and hasattr(values, "__iter__")
    return list(values) if countable and not isinstance(values, str | bytes | dict) else None
