"""What every way of running has in common: taking items in, saying what happens to them, answering each once."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import IOBase
from time import perf_counter, time
from typing import Any, Final, cast

from .audience import Audience
from .cog.errors import CancelationException
from .cog.scope import Scope, scoped
from .frames import Began, Chunk, Done, Health, Item, Run
from .inbox import Inbox
from .inputs import BadInput, Inputs
from .link import Link
from .outputs import BadOutput, Value, clean, encode, plain
from .predictor import Predictor, describe
from .speech import Speech
from .temporaries import Home, Outputs, Temporaries, drop
from .traces import told


class Raised:
    """What user code raised, in the place of what it returned."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


STREAMED: Final = object()
"""In the place of an output that has been said chunk by chunk."""


class Turn:
    """Items that run together: their metrics, their files, their clock."""

    def __init__(self, items: Sequence[Item], home: Home) -> None:
        self.seat(items)
        self.scope = Scope()
        if items[0].context:
            self.scope.context = items[0].context
        self.temporaries = Temporaries(home)
        self._began = perf_counter()

    def seat(self, items: Sequence[Item]) -> None:
        """Those of the next call."""
        self.running = tuple(item.id for item in items)

    def seconds(self) -> float:
        return perf_counter() - self._began


class Desk:
    """Between the agent and user code."""

    def __init__(
        self,
        predictor: Predictor,
        inputs: Inputs,
        inbox: Inbox,
        link: Link,
        audience: Audience,
        speech: Speech,
        home: Home,
    ) -> None:
        self._predictor = predictor
        self._inputs = inputs
        self._inbox = inbox
        self._link = link
        self._audience = audience
        self._speech = speech
        self._home = home
        self.quick = inputs.quick
        """Inputs take no time to read: nothing is fetched."""

    def calls(self, run: Run) -> Iterator[list[Item]]:
        """The items of `run` as they are to be called: all at once, or one by one."""
        together = self._predictor.predict_batch is not None
        for items in [run.items] if together else [[item] for item in run.items]:
            if wanted := self._admit(items):
                yield wanted

    def halves(self, items: list[Item], turn: Turn) -> Iterator[list[Item]]:
        """Smaller calls for a batch that raised."""
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            if wanted := self._admit(half, turn):
                turn.seat(wanted)
                self._audience.seat(turn, turn.running)
                yield wanted

    @contextmanager
    def turn(self, items: Sequence[Item]) -> Generator[Turn]:
        turn = Turn(items, self._home)
        self._audience.seat(turn, turn.running)
        self._link.send(Began(list(turn.running), time()))
        try:
            with scoped(turn.scope):
                yield turn
        finally:
            self._audience.leave(turn)
            turn.temporaries.remove()

    def unwanted(self, turn: Turn) -> bool:
        """Nobody wants anything of what runs."""
        return all(self._inbox.unwanted(id) for id in turn.running)

    def read(self, item: Item, turn: Turn) -> dict[str, Any]:
        return self._inputs.read(item.input, turn.temporaries, item.files)

    def claim(self, items: Sequence[Item]) -> None:
        """What is printed in this context is these items' alone."""
        self._audience.claim(tuple(item.id for item in items))

    def well(self, error: str | None) -> None:
        """What the predictor's `healthcheck` found."""
        self._link.send(Health(error))

    def chunk(self, item: Item, turn: Turn, output: object) -> None:
        value = encode(output, Outputs(turn.temporaries, last=False))
        self._link.send(Chunk(item.id, value.json, value.files))

    def answer(self, item: Item, turn: Turn, result: object) -> None:
        """The one `Done` of an item. `result` is an output, `STREAMED`, or `Raised`."""
        ours, at = _ours(turn), time()
        unwanted = self._inbox.unwanted(item.id)
        result = self._encoded(result, turn)
        error = self._explain(result.error, item, unwanted=unwanted) if isinstance(result, Raised) else None
        metrics = {**self._measured(item, turn), **ours}
        self._speech.finish()
        many = result is STREAMED
        if unwanted:
            drop(result.files if isinstance(result, Value) else [])
            self._send(Done(item.id, at, "stopped", many, None, [], None, metrics))
        elif error is not None:
            self._send(Done(item.id, at, "failed", many, None, [], error, metrics))
        elif isinstance(result, Value):
            self._send(Done(item.id, at, "ok", False, result.json, result.files, None, metrics))
        else:
            self._send(Done(item.id, at, "ok", True, None, [], None, metrics))

    def values(self, result: object) -> Iterator[object] | None:
        """The chunks of an output that comes in chunks."""
        if isinstance(result, Iterator) and not isinstance(result, IOBase):
            return cast("Iterator[object]", result)
        if self._predictor.signature.result.many and isinstance(result, list | tuple):
            return iter(cast("Iterable[object]", result))
        return None

    def share(self, items: Sequence[Item], turn: Turn, results: Any) -> None:
        """Answer a whole batch with what `predict_batch` returned or raised."""
        if isinstance(results, Raised):
            results = [results] * len(items)
        outputs = list(results) if _countable(results) else None
        if outputs is None or len(outputs) != len(items):
            got = type(results).__name__ if outputs is None else f"{len(outputs)} outputs"
            wrong = BadOutput(f"predict_batch must return a list of {len(items)} outputs, one per input; it gave {got}")
            outputs = [Raised(wrong)] * len(items)
        for item, output in zip(items, outputs, strict=True):
            self.answer(item, turn, Raised(output) if isinstance(output, Exception) else output)

    def complain(self, error: BaseException, ids: Sequence[str]) -> None:
        """A traceback for the log of these."""
        if isinstance(error, BadInput | BadOutput):
            return
        self._speech.finish()
        self._audience.hear(told(error), ids)

    def _encoded(self, result: object, turn: Turn) -> object:
        if result is STREAMED or isinstance(result, Raised):
            return result
        try:
            return encode(result, Outputs(turn.temporaries, last=True))
        except Exception as error:  # noqa: BLE001  the output's own methods are user code too
            return Raised(error)

    def _explain(self, error: BaseException, item: Item, *, unwanted: bool) -> str:
        if not (unwanted and isinstance(error, CancelationException)):
            self.complain(error, [item.id])
        return clean(str(error) if isinstance(error, Exception) and str(error) else describe(error))

    def _measured(self, item: Item, turn: Turn) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in turn.scope.metrics.items():
            try:
                found[name] = plain(value, f"metric {name}")
            except Exception as error:  # noqa: BLE001  a number less is no reason to fail
                self._speech.finish()
                reason = str(error) if isinstance(error, BadOutput) else f"metric {name}: {error}"
                self._audience.hear(f"left out: {reason}\n", [item.id])
        return found

    def _admit(self, items: Iterable[Item], turn: Turn | None = None) -> list[Item]:
        """Those that are still wanted; the others are answered, and never start, or do not run again."""
        metrics = _ours(turn) if turn is not None else {}
        wanted: list[Item] = []
        for item in items:
            if self._inbox.unwanted(item.id):
                self._send(Done(item.id, time(), "stopped", False, None, [], None, metrics))
            else:
                wanted.append(item)
        return wanted

    def _send(self, done: Done) -> None:
        self._link.send(done)
        self._inbox.settle((done.id,))


def _ours(turn: Turn) -> dict[str, Any]:
    """Metrics that no predictor says of itself."""
    return {"predict_time": round(turn.seconds(), 6), "batch_size": len(turn.running)}


def _countable(results: Any) -> bool:
    return hasattr(results, "__len__") and hasattr(results, "__iter__") and not isinstance(results, str | bytes | dict)
