"""What every way of running has in common: taking items in, saying what happens to them, answering each once."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import IOBase
from time import time
from typing import Any, cast

from ..cog.errors import CancelationException
from ..cog.scope import scoped
from ..frames import Began, Chunk, Done, Fits, Health, Item, Run
from ..io.agent_socket import Link
from ..io.inputs import BadInput, Inputs
from ..io.log_routing import Audience
from ..io.outputs import BadOutput, Value, clean, encode, plain
from ..io.scratch_files import Home, Outputs, drop
from ..io.stdio_capture import Speech
from ..predictor.loader import Predictor, describe
from .call import STREAMED, Raised, Turn
from .out_of_memory import is_shortage, relieve
from .requests import Inbox
from .tracebacks import told


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
        self._fits: int | None = None
        """The largest batch that did not run out of memory, once another did."""

    def calls(self, run: Run) -> Iterator[list[Item]]:
        """The items of `run` as they are to be called: as many at once as fit, or one by one."""
        size = len(run.items) if self._fits is None else self._fits
        if self._predictor.predict_batch is None:
            size = 1
        for start in range(0, len(run.items), size):
            if wanted := self.admit(run.items[start : start + size]):
                yield wanted

    def admit(self, items: Iterable[Item], turn: Turn | None = None) -> list[Item]:
        """Those that are still wanted; the others are answered, and never start, or do not run again."""
        wanted: list[Item] = []
        for item in items:
            if self._inbox.unwanted(item.id):
                self._refuse(item.id, turn)
            else:
                wanted.append(item)
        return wanted

    @contextmanager
    def turn(self, items: Sequence[Item]) -> Generator[Turn]:
        turn = Turn(items, self._home)
        self.seat(turn, items)
        self._link.send(Began(list(turn.ids), time()))
        try:
            with scoped(turn.scope):
                yield turn
        finally:
            self._audience.leave(turn)
            turn.temporaries.remove()
        if turn.short and turn.went > 0:
            self._fits = turn.went
            self._link.send(Fits(turn.went))

    def seat(self, turn: Turn, items: Sequence[Item]) -> None:
        """A call for all of a turn, or another for some of them."""
        turn.seat(items)
        turn.shares.renew(len(items), lambda index: self._audience.alone((items[index].id,)))
        self.close_ranks(turn)

    def close_ranks(self, turn: Turn) -> None:
        """Who was answered hears no more."""
        self._audience.seat(turn, turn.ids)

    def gathered(self) -> AbstractContextManager[None]:
        """What is answered in here is sent together."""
        return self._link.gathered()

    def wanted(self, turn: Turn) -> bool:
        """Somebody waits for something of what runs."""
        return not all(self._inbox.unwanted(id) for id in turn.open)

    def unwanted(self, turn: Turn) -> bool:
        """Nobody does who did when it began."""
        return bool(turn.open) and not self.wanted(turn)

    def withdraw(self) -> None:
        """Who waits in line and is not wanted any more is answered at once, however long the others take."""
        for id in self._inbox.withdrawn():
            self._refuse(id)

    def dismiss(self, turn: Turn) -> None:
        """Who left a batch that others still want is answered at once, and what is made for it counts no more."""
        for id in list(filter(self._inbox.unwanted, turn.later)):
            del turn.later[id]
            self._refuse(id, turn)
        left = [item for item in turn.open.values() if self._inbox.unwanted(item.id)]
        if left and self.wanted(turn):
            for item in left:
                self.answer(item, turn, Raised(CancelationException()))
            self.close_ranks(turn)

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
        turn.said.add(item.id)
        self._link.send(Chunk(item.id, value.json, value.files))

    def answer(self, item: Item, turn: Turn, result: object) -> None:
        """The one `Done` of an item. `result` is an output, `STREAMED`, or `Raised`."""
        ours, at = turn.metrics(), time()
        unwanted = self._inbox.unwanted(item.id)
        result = self._encoded(result, turn)
        short = isinstance(result, Raised) and is_shortage(result.error)
        error = self._explain(result.error, item, unwanted=unwanted) if isinstance(result, Raised) else None
        metrics = {**self._measured(item, turn), **ours}
        self._speech.finish()
        self._learn(turn, result)
        turn.open.pop(item.id, None)
        many = result is STREAMED
        if unwanted:
            drop(result.files if isinstance(result, Value) else [])
            self._send(Done(item.id, at, "stopped", many, None, [], None, metrics))
        elif error is not None:
            self._send(Done(item.id, at, "failed", many, None, [], error, metrics, short))
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

    def start_over(self, item: Item, turn: Turn) -> None:
        """What was said of it counts for nothing, and it is not known what else it would have said."""
        self._speech.finish()
        turn.open.pop(item.id, None)
        self._send(Done(item.id, time(), "again", False, None, [], None, {}))

    def tell(self, text: str, ids: Sequence[str]) -> None:
        """A line of our own in their logs."""
        self._speech.finish()
        self._audience.hear(text, ids)

    def complain(self, error: BaseException, ids: Sequence[str]) -> None:
        """A traceback for the log of these."""
        if isinstance(error, BadInput | BadOutput):
            return
        self.tell(told(error), ids)

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
        for name, value in turn.shares.of(turn.place(item)).items():
            try:
                found[name] = plain(value, f"metric {name}")
            except Exception as error:  # noqa: BLE001  a number less is no reason to fail
                reason = str(error) if isinstance(error, BadOutput) else f"metric {name}: {error}"
                self.tell(f"left out: {reason}\n", [item.id])
        return found

    def _learn(self, turn: Turn, result: object) -> None:
        """One that is too large by itself says nothing of the others."""
        if isinstance(result, Raised):
            if is_shortage(result.error):
                relieve(result.error)
                turn.went = -1
        elif turn.went >= 0:
            turn.went = max(turn.went, len(turn.items))

    def _refuse(self, id: str, turn: Turn | None = None) -> None:
        """It is not called, or not called again."""
        self._send(Done(id, time(), "stopped", False, None, [], None, turn.metrics() if turn is not None else {}))

    def _send(self, done: Done) -> None:
        self._link.send(done)
        self._inbox.settle((done.id,))
