"""Answers to the agent: every item is answered once, with what user code gave for it."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import IOBase
from time import time
from typing import Any, cast

from ..cog.errors import CancelationException
from ..cog.scope import scoped
from ..errors import describe_error
from ..frames import BatchLimit, Chunk, Done, Health, Item, ItemsStarted, Run
from ..io.agent_socket import AgentSocket
from ..io.inputs import BadInput, InputReader
from ..io.log_routing import LogRouter
from ..io.outputs import BadOutput, EncodedOutput, clean_text, encode, to_plain
from ..io.scratch_files import OutputFiles, ScratchFolder, delete_files
from ..io.stdio_capture import StdioCapture
from ..predictor.loader import Predictor
from .call import STREAMED, Call, Failure
from .out_of_memory import is_out_of_memory, release_memory_of
from .requests import RequestQueue
from .tracebacks import format_error


class Responder:
    """Answers items to the agent, for both loops.

    It turns requests into calls, reads their inputs, and sends their chunks, logs and results. Items that the agent
    has asked to stop are answered as soon as nothing runs for them alone.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: InputReader,
        requests: RequestQueue,
        agent: AgentSocket,
        logs: LogRouter,
        capture: StdioCapture,
        folder: ScratchFolder,
    ) -> None:
        self._predictor = predictor
        self._inputs = inputs
        self._requests = requests
        self._agent = agent
        self._logs = logs
        self._capture = capture
        self._folder = folder
        self.reads_inline = inputs.never_downloads
        """Whether inputs take no time to read, as nothing is downloaded."""
        self._max_batch_items: int | None = None
        """The size of the largest batch that did not run out of memory, once another did."""

    def calls(self, request: Run) -> Iterator[list[Item]]:
        """Yield the items of each call that a request takes: as many at once as fit, or one by one."""
        size = len(request.items) if self._max_batch_items is None else self._max_batch_items
        if self._predictor.predict_batch is None:
            size = 1
        for start in range(0, len(request.items), size):
            if items := self.admit(request.items[start : start + size]):
                yield items

    def admit(self, items: Iterable[Item], call: Call | None = None) -> list[Item]:
        """Return the items that still have to run, and answer those that are to be stopped."""
        admitted: list[Item] = []
        for item in items:
            if self._requests.is_stopped(item.id):
                self._send_stopped(item.id, call)
            else:
                admitted.append(item)
        return admitted

    @contextmanager
    def open_call(self, items: Sequence[Item]) -> Generator[Call]:
        """Run a call within the block: logs and metrics are its items' own, and its files are removed in the end."""
        call = Call(items, self._folder)
        self.begin(call, items)
        self._agent.send(ItemsStarted(list(call.ids), time()))
        try:
            with scoped(call.scope):
                yield call
        finally:
            self._logs.remove_call(call)
            call.scratch.remove()
        if call.failed_size and call.passed_size > 0:
            self._max_batch_items = call.passed_size
            self._agent.send(BatchLimit(call.passed_size))

    def begin(self, call: Call, items: Sequence[Item]) -> None:
        """Begin a call into user code: the first for all items, or another for some of them."""
        call.begin(items)
        call.metrics.begin(len(items), lambda index: self._logs.owned_by((items[index].id,)))
        self.update_log_owners(call)

    def update_log_owners(self, call: Call) -> None:
        """Route what is printed to the unanswered items only."""
        self._logs.set_call(call, call.ids)

    def coalesce(self) -> AbstractContextManager[None]:
        """Send the answers given within the block in one go."""
        return self._agent.coalesce()

    def is_awaited(self, call: Call) -> bool:
        """Return whether somebody waits for an unanswered item of the call."""
        return not all(self._requests.is_stopped(id) for id in call.unanswered)

    def is_abandoned(self, call: Call) -> bool:
        """Return whether all unanswered items of the call are to be stopped."""
        return bool(call.unanswered) and not self.is_awaited(call)

    def answer_stopped_in_queue(self) -> None:
        """Answer queued items that are to be stopped at once, however long the others take."""
        for id in self._requests.remove_stopped():
            self._send_stopped(id)

    def answer_stopped_in_call(self, call: Call) -> None:
        """Answer items that are to be stopped while others of their batch run on; their outputs count no more."""
        for id in list(filter(self._requests.is_stopped, call.queued)):
            del call.queued[id]
            self._send_stopped(id, call)
        stopped = [item for item in call.unanswered.values() if self._requests.is_stopped(item.id)]
        if stopped and self.is_awaited(call):
            for item in stopped:
                self.answer(item, call, Failure(CancelationException()))
            self.update_log_owners(call)

    def read_inputs(self, item: Item, call: Call) -> dict[str, Any]:
        """Return the arguments of `predict` for an item. Raises `BadInput`."""
        return self._inputs.read(item.input, call.scratch, item.files)

    def own_context(self, items: Sequence[Item]) -> None:
        """Route what is printed in this context to these items alone."""
        self._logs.set_owner(tuple(item.id for item in items))

    def send_health(self, error: str | None) -> None:
        """Send the result of a healthcheck."""
        self._agent.send(Health(error))

    def send_chunk(self, item: Item, call: Call, output: object) -> None:
        """Send one value of an item's output. Raises `BadOutput`, or what the value's own methods raise."""
        encoded = encode(output, OutputFiles(call.scratch, last=False))
        call.streamed_ids.add(item.id)
        self._agent.send(Chunk(item.id, encoded.json, encoded.files))

    def answer(self, item: Item, call: Call, result: object) -> None:
        """Send the one `Done` of an item. `result` is an output, `STREAMED`, or a `Failure`."""
        measured, at = call.measured_metrics(), time()
        is_stopped = self._requests.is_stopped(item.id)
        result = self._encode_output(result, call)
        out_of_memory = isinstance(result, Failure) and is_out_of_memory(result.error)
        error = self._error_message(result.error, item, is_stopped) if isinstance(result, Failure) else None
        metrics = {**self._recorded_metrics(item, call), **measured}
        self._capture.flush_all()
        self._note_size(call, result)
        call.unanswered.pop(item.id, None)
        streamed = result is STREAMED
        if is_stopped:
            delete_files(result.files if isinstance(result, EncodedOutput) else [])
            self._send(Done(item.id, at, "stopped", streamed, None, [], None, metrics))
        elif error is not None:
            self._send(Done(item.id, at, "failed", streamed, None, [], error, metrics, out_of_memory))
        elif isinstance(result, EncodedOutput):
            self._send(Done(item.id, at, "ok", False, result.json, result.files, None, metrics))
        else:
            self._send(Done(item.id, at, "ok", True, None, [], None, metrics))

    def chunks(self, result: object) -> Iterator[object] | None:
        """Return the values of an output that is sent in chunks, or None if it is sent as a whole."""
        if isinstance(result, Iterator) and not isinstance(result, IOBase):
            return cast("Iterator[object]", result)
        if self._predictor.signature.result.many and isinstance(result, list | tuple):
            return iter(cast("Iterable[object]", result))
        return None

    def start_over(self, item: Item, call: Call) -> None:
        """Have the agent run an item again: its chunks count for nothing, and nobody knows which were to follow."""
        self._capture.flush_all()
        call.unanswered.pop(item.id, None)
        self._send(Done(item.id, time(), "again", False, None, [], None, {}))

    def log(self, text: str, ids: Sequence[str]) -> None:
        """Write a line of our own into the logs of these items."""
        self._capture.flush_all()
        self._logs.route(text, ids)

    def log_error(self, error: BaseException, ids: Sequence[str]) -> None:
        """Write a traceback into the logs of these items, unless the message says it all."""
        if isinstance(error, BadInput | BadOutput):
            return
        self.log(format_error(error), ids)

    def _encode_output(self, result: object, call: Call) -> object:
        if result is STREAMED or isinstance(result, Failure):
            return result
        try:
            return encode(result, OutputFiles(call.scratch, last=True))
        except Exception as error:  # noqa: BLE001  the output's own methods are user code too
            return Failure(error)

    def _error_message(self, error: BaseException, item: Item, is_stopped: bool) -> str:
        if not (is_stopped and isinstance(error, CancelationException)):
            self.log_error(error, [item.id])
        return clean_text(str(error) if isinstance(error, Exception) and str(error) else describe_error(error))

    def _recorded_metrics(self, item: Item, call: Call) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        for name, value in call.metrics.of_item(call.index(item)).items():
            try:
                metrics[name] = to_plain(value, f"metric {name}")
            except Exception as error:  # noqa: BLE001  a number less is no reason to fail
                reason = str(error) if isinstance(error, BadOutput) else f"metric {name}: {error}"
                self.log(f"left out: {reason}\n", [item.id])
        return metrics

    def _note_size(self, call: Call, result: object) -> None:
        """Note which sizes fit into memory. An item that is too large by itself says nothing of the others."""
        if isinstance(result, Failure):
            if is_out_of_memory(result.error):
                release_memory_of(result.error)
                call.passed_size = -1
        elif call.passed_size >= 0:
            call.passed_size = max(call.passed_size, len(call.items))

    def _send_stopped(self, id: str, call: Call | None = None) -> None:
        """Answer an item that is not called, or not called again."""
        metrics = call.measured_metrics() if call is not None else {}
        self._send(Done(id, time(), "stopped", False, None, [], None, metrics))

    def _send(self, done: Done) -> None:
        self._agent.send(done)
        self._requests.forget((done.id,))
