"""Answers to the items of a batch: what one call returned for all, and what is called instead when it failed."""

from collections.abc import Iterator
from io import IOBase
from typing import Any, cast

from ..frames import Item
from ..io.outputs import BadOutput
from ..predictor.loader import Predictor
from .call import STREAMED, Call, Failure
from .out_of_memory import is_out_of_memory, release_memory_of
from .responder import Responder
from .tracebacks import failing_line


class UnreadableInputs(Exception):
    """The inputs of some items cannot be read."""

    def __init__(self, reasons: dict[str, Exception]) -> None:
        self.reasons = reasons
        """The reason of each item, by its id."""


class BatchResponder:
    """Answers the items of calls of `predict_batch`, for both loops.

    It takes results apart, item by item. After a failure it says which smaller calls are to be made, so that the item
    to blame stands alone in the end.
    """

    def __init__(self, predictor: Predictor, responder: Responder) -> None:
        self._streams = predictor.streams
        self._responder = responder

    def read_inputs(self, call: Call) -> list[dict[str, Any]]:
        """Return the arguments of all items. Raises `UnreadableInputs`."""
        inputs: list[dict[str, Any]] = []
        reasons: dict[str, Exception] = {}
        for item in call.items:
            try:
                inputs.append(self._responder.read_inputs(item, call))
            except Exception as error:  # noqa: BLE001  one must not fail its neighbours
                reasons[item.id] = error
        if reasons:
            raise UnreadableInputs(reasons)
        return inputs

    def answer(self, call: Call, results: object) -> Iterator[list[Item]]:
        """Answer all items with what the call returned. If it raised, yield the items of each call to make instead."""
        abandoned = self._responder.is_abandoned(call)
        if abandoned or not isinstance(results, Failure) or isinstance(results.error, BadOutput):
            with self._responder.coalesce():
                self._answer_all(call, results)
        elif isinstance(results.error, UnreadableInputs):
            for id, reason in results.error.reasons.items():
                if id in call.unanswered:
                    self._responder.answer(call.unanswered[id], call, Failure(reason))
            yield from self._begin_calls(call, [list(call.unanswered.values())])
        else:
            yield from self._begin_calls(call, self._halves(call, results.error))

    def send_step(self, call: Call, values: object) -> None:
        """Send what a generator yielded: for each item a chunk, its end, or None. Raises `BadOutput`."""
        outputs = _as_list(values)
        if outputs is None or len(outputs) != len(call.items):
            got = type(values).__name__ if outputs is None else f"{len(outputs)} values"
            expected = f"a list of {len(call.items)} values at each step, one per input"
            raise BadOutput(f"predict_batch must yield {expected}; it gave {got}")
        before = len(call.unanswered)
        with self._responder.coalesce():
            for item, output in zip(call.items, outputs, strict=True):
                if item.id in call.unanswered and output is not None:
                    self._send_value(item, call, output)
        if len(call.unanswered) < before:
            self._responder.update_log_owners(call)

    def _send_value(self, item: Item, call: Call, output: object) -> None:
        if isinstance(output, StopIteration) or output is StopIteration:
            self._finish(item, call)
        elif isinstance(output, Exception):
            self._responder.answer(item, call, Failure(output))
        elif self._streams:
            try:
                self._responder.send_chunk(item, call, output)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                self._responder.answer(item, call, Failure(error))
        else:
            self._responder.answer(item, call, output)

    def _finish(self, item: Item, call: Call) -> None:
        """Answer an item for which no value follows."""
        if self._streams:
            self._responder.answer(item, call, STREAMED)
        else:
            error = BadOutput("predict_batch ended without an output for this input")
            self._responder.answer(item, call, Failure(error))

    def _answer_all(self, call: Call, results: object) -> None:
        unanswered = list(call.unanswered.values())
        if isinstance(results, Failure):
            for item in unanswered:
                self._responder.answer(item, call, results)
        elif results is STREAMED:
            for item in unanswered:
                self._finish(item, call)
        elif (outputs := _as_list(results)) is not None and len(outputs) == len(call.items):
            for item, output in zip(call.items, outputs, strict=True):
                if item.id in call.unanswered:
                    self._answer_one(item, call, output)
        else:
            got = type(results).__name__ if outputs is None else f"{len(outputs)} outputs"
            expected = f"a list of {len(call.items)} outputs, one per input"
            self._answer_all(call, Failure(BadOutput(f"predict_batch must return {expected}; it gave {got}")))

    def _answer_one(self, item: Item, call: Call, output: object) -> None:
        if isinstance(output, Exception):
            self._responder.answer(item, call, Failure(output))
        elif self._streams and isinstance(output, list | tuple):
            for chunk in cast("list[object]", output):
                self._send_value(item, call, chunk)
            if item.id in call.unanswered:
                self._finish(item, call)
        else:
            self._responder.answer(item, call, output)

    def _halves(self, call: Call, error: BaseException) -> list[list[Item]]:
        """Split the items of which no chunk was sent in two. The others start over: chunks cannot be taken back."""
        for item in [item for item in call.unanswered.values() if item.id in call.streamed_ids]:
            self._responder.start_over(item, call)
        items = list(call.unanswered.values())
        middle = (len(items) + 1) // 2
        size, out_of_memory = len(call.items), is_out_of_memory(error)
        if items:
            why = "ran out of memory" if out_of_memory else f"failed ({type(error).__name__}, {failing_line(error)})"
            self._responder.log(f"a batch of {size} {why}; trying {middle}\n", call.ids)
        if out_of_memory:
            release_memory_of(error)
            call.failed_size = min(call.failed_size or size, size)
            if call.passed_size >= size:  # it had answered some
                call.passed_size = 0
        return [items[:middle], items[middle:]]

    def _begin_calls(self, call: Call, calls: list[list[Item]]) -> Iterator[list[Item]]:
        call.queued |= {item.id: item for items in calls for item in items}
        for items in calls:
            remaining = [item for item in items if call.queued.pop(item.id, None) is not None]
            if admitted := self._responder.admit(remaining, call):
                self._responder.begin(call, admitted)
                yield admitted


def steps(result: object) -> Iterator[object] | None:
    """Return the steps of a batch whose outputs come one after another, else None."""
    return cast("Iterator[object]", result) if isinstance(result, Iterator) and not isinstance(result, IOBase) else None


def _as_list(values: Any) -> list[Any] | None:
    is_collection = hasattr(values, "__len__") and hasattr(values, "__iter__")
    return list(values) if is_collection and not isinstance(values, str | bytes | dict) else None
