"""The loop for sync predictors. It runs on the main thread: there a signal can interrupt what they wait for."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, cast

from ..cog.errors import CancelationException
from ..devices.parking import ModelMemory
from ..frames import Item, Park
from ..predictor.loader import Predictor, RunCoroutine, new_event_loop
from .batch import BatchResponder, steps
from .call import STREAMED, Call, Failure
from .healthcheck import failure_reason
from .interrupts import Interrupts
from .requests import RequestQueue
from .responder import Responder


class SyncLoop:
    """Runs the agent's requests one after another, with a sync predictor.

    It owns the call that runs, and the event loop of an async healthcheck.
    """

    def __init__(
        self,
        predictor: Predictor,
        requests: RequestQueue,
        responder: Responder,
        interrupts: Interrupts,
        memory: ModelMemory,
        run_coroutine: RunCoroutine | None,
    ) -> None:
        self._predictor = predictor
        self._requests = requests
        self._responder = responder
        self._batches = BatchResponder(predictor, responder)
        self._interrupts = interrupts
        self._memory = memory
        self._run_coroutine = run_coroutine
        self._call: Call | None = None

    def run(self) -> NoReturn:
        """Run requests until the agent is gone."""
        self._interrupts.install(self._is_call_abandoned)
        while True:
            request = self._requests.wait()
            if self._interrupts.is_pending:
                self._requests.receive()
            if request is None:
                self._report_health()
                continue
            if isinstance(request, Park):
                self._memory.carry_out(request)
                continue
            for items in self._responder.calls(request):
                with self._responder.open_call(items) as self._call:
                    self._answer(items, self._call)
                self._call = None
                self._memory.report_growth()

    def _answer(self, items: list[Item], call: Call) -> None:
        """Make one call for all of them; if that raises, one for each half, until the one to blame stands alone."""
        self._interrupts.rearm()
        if len(items) == 1:
            self._responder.answer(items[0], call, self._predict(items[0], call))
            return
        for fewer in self._batches.answer(call, self._predict_batch(call)):
            self._answer(fewer, call)

    def _predict(self, item: Item, call: Call) -> object:
        result = self._attempt(lambda: self._predictor.predict(**self._responder.read_inputs(item, call)))
        if isinstance(result, Failure):
            return result
        chunks = self._responder.chunks(result)
        if chunks is None:
            return result
        return self._stream(call, chunks, lambda value: self._responder.send_chunk(item, call, value))

    def _predict_batch(self, call: Call) -> object:
        predict_batch = cast("Callable[[list[dict[str, Any]]], object]", self._predictor.predict_batch)
        result = self._attempt(lambda: predict_batch(self._batches.read_inputs(call)))
        values = steps(result)
        if values is None:
            return result
        return self._stream(call, values, lambda value: self._batches.send_step(call, value))

    def _stream(self, call: Call, values: Iterator[object], send: Callable[[object], None]) -> object:
        """Send values as they come, as long as somebody waits for them."""
        while self._responder.is_awaited(call):
            value = self._attempt(values.__next__)
            if isinstance(value, Failure):
                return self._close(call, values, value)
            try:
                send(value)
            except Exception as error:  # noqa: BLE001  the value's own methods are user code too
                return self._close(call, values, Failure(error))
        if call.unanswered:
            return self._close(call, values, Failure(CancelationException()))
        self._close(call, values, Failure(GeneratorExit()))
        return STREAMED

    def _close(self, call: Call, values: Iterator[object], ending: Failure) -> object:
        """Let a generator clean up. In one that was interrupted between two values, the interrupt is raised there."""
        if isinstance(ending.error, StopIteration):
            return STREAMED
        # Any iterator will do as an output, and most have neither method.
        if isinstance(ending.error, CancelationException) and (throw := getattr(values, "throw", None)):
            self._clean_up(call, lambda: throw(ending.error))
        if close := getattr(values, "close", None):
            self._clean_up(call, close)
        return ending

    def _clean_up(self, call: Call, step: Callable[[], object]) -> None:
        result = self._attempt(step)
        if isinstance(result, Failure) and not isinstance(result.error, CancelationException | StopIteration):
            self._responder.log_error(result.error, call.ids)

    def _attempt(self, user_code: Callable[[], object]) -> object:
        """Run user code, and return what it returns, or a `Failure`."""
        try:
            try:
                self._interrupts.enter_user_code()
                return user_code()
            finally:
                self._interrupts.leave_user_code()
        except BaseException as error:  # noqa: BLE001  sys.exit and cancelation are answers too
            # An interrupt that came between the call and `leave_user_code` skipped it.
            self._interrupts.leave_user_code()
            return Failure(error)

    def _report_health(self) -> None:
        """Answer all healthchecks that were asked for with the result of one."""
        check = self._predictor.healthcheck
        error = None if check is None else failure_reason(self._attempt(lambda: self._finish(check())))
        for _ in range(self._requests.take_checks()):
            self._responder.send_health(error)

    def _finish(self, result: object) -> object:
        if not isinstance(result, Coroutine):
            return result
        self._run_coroutine = self._run_coroutine or new_event_loop()
        return self._run_coroutine(cast("Coroutine[object, object, object]", result))

    def _is_call_abandoned(self) -> bool:
        self._requests.receive()
        self._responder.answer_stopped_in_queue()
        if self._call is None:
            return False
        self._responder.answer_stopped_in_call(self._call)
        return self._responder.is_abandoned(self._call)
