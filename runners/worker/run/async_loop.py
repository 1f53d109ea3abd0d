"""The loop for async predictors: an event loop that also listens to the agent."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, Never, TypeVar, cast

from ..cog.errors import CancelationException
from ..devices.parking import ModelMemory
from ..frames import Item, Park, Run
from ..predictor.loader import Predictor
from .batch import BatchResponder, steps
from .call import STREAMED, Call, Failure
from .healthcheck import failure_reason
from .interrupts import Interrupts
from .requests import RequestQueue
from .responder import Responder

R = TypeVar("R")

_HEALTHCHECK_SECONDS: Final = 5.0


class AsyncLoop:
    """Runs the agent's requests with an async predictor, up to `concurrency` at a time.

    It owns the calls that run and the tasks of user code in them, which it cancels when nobody waits for them.
    """

    def __init__(
        self,
        predictor: Predictor,
        requests: RequestQueue,
        responder: Responder,
        interrupts: Interrupts,
        memory: ModelMemory,
    ) -> None:
        self._predictor = predictor
        self._requests = requests
        self._responder = responder
        self._batches = BatchResponder(predictor, responder)
        self._interrupts = interrupts
        self._memory = memory
        self._wakeup = asyncio.Event()
        self._calls: dict[Call, asyncio.Task[object] | None] = {}
        """The calls that run, and the user code in each that may be interrupted."""
        self._healthchecks: set[asyncio.Task[None]] = set()

    async def run(self, fd: int) -> Never:
        """Run requests until the agent is gone. `fd` is its socket."""
        # User code is never entered by `Interrupts`, so a signal is only noted: the socket tells what is to stop.
        self._interrupts.install(lambda: False)
        asyncio.get_running_loop().add_reader(fd, self._on_readable)
        if self._predictor.concurrency > 1:
            await self._run_concurrently(self._predictor.concurrency)
        while True:
            while request := self._requests.next():
                if isinstance(request, Park):
                    self._memory.carry_out(request)
                else:
                    await self._run_request(request)
            self._wakeup.clear()
            await self._wakeup.wait()

    async def _run_concurrently(self, max_running: int) -> Never:
        running: set[asyncio.Task[None]] = set()
        while True:
            self._wakeup.clear()
            for task in [task for task in running if task.done()]:
                running.discard(task)
                task.result()
            while len(running) < max_running and (request := self._requests.next(is_idle=not running)):
                if isinstance(request, Park):
                    self._memory.carry_out(request)
                    continue
                task = asyncio.create_task(self._run_with_own_logs(request))
                running.add(task)
                task.add_done_callback(lambda _: self._wakeup.set())
            await self._wakeup.wait()

    async def _run_with_own_logs(self, request: Run) -> None:
        """Run a request in a task of its own: what is printed there belongs to its items alone."""
        self._responder.own_context(request.items)
        await self._run_request(request)

    async def _run_request(self, request: Run) -> None:
        for items in self._responder.calls(request):
            with self._responder.open_call(items) as call:
                self._calls[call] = None
                try:
                    await self._answer(items, call)
                finally:
                    del self._calls[call]
            self._memory.report_growth()

    def _on_readable(self) -> None:
        self._requests.receive()
        self._responder.answer_stopped_in_queue()
        self._wakeup.set()
        for call, task in self._calls.items():
            self._responder.answer_stopped_in_call(call)
            if task is not None and self._responder.is_abandoned(call):
                task.cancel()
                self._calls[call] = None  # once: what cleans up is left in peace
        for _ in range(self._requests.take_checks()):
            task = asyncio.create_task(self._report_health())
            self._healthchecks.add(task)
            task.add_done_callback(self._healthchecks.discard)

    async def _answer(self, items: list[Item], call: Call) -> None:
        """Make one call for all of them; if that raises, one for each half, until the one to blame stands alone."""
        if len(items) == 1:
            self._responder.answer(items[0], call, await self._attempt(call, self._predict(items[0], call)))
            return
        for fewer in self._batches.answer(call, await self._attempt(call, self._predict_batch(call))):
            await self._answer(fewer, call)

    async def _predict(self, item: Item, call: Call) -> object:
        result = self._predictor.predict(**await self._read(lambda: self._responder.read_inputs(item, call)))
        if inspect.isawaitable(result):
            result = await result
        values = _async_values(result, self._responder.chunks)
        if values is None:
            return result
        return await self._stream(call, values, lambda value: self._responder.send_chunk(item, call, value))

    async def _predict_batch(self, call: Call) -> object:
        assert self._predictor.predict_batch is not None
        result = self._predictor.predict_batch(await self._read(lambda: self._batches.read_inputs(call)))
        if inspect.isawaitable(result):
            result = await result
        values = _async_values(result, steps)
        if values is None:
            return result
        return await self._stream(call, values, lambda value: self._batches.send_step(call, value))

    async def _read(self, read: Callable[[], R]) -> R:
        return read() if self._responder.reads_inline else await asyncio.to_thread(read)

    async def _stream(self, call: Call, values: AsyncIterator[object], send: Callable[[object], None]) -> object:
        """Send values as they come, as long as somebody waits for them."""
        try:
            async for value in values:
                send(value)
                if not self._responder.is_awaited(call):
                    break
        finally:
            if close := getattr(values, "aclose", None):
                await close()
        return STREAMED

    async def _attempt(self, call: Call, user_code: Coroutine[Any, Any, object]) -> object:
        """Run user code in a task that can be canceled, and return what it returns, or a `Failure`."""
        self._calls[call] = task = asyncio.create_task(self._catch_errors(call, user_code))
        try:
            await asyncio.wait([task])
        finally:
            self._calls[call] = None
        return task.result()

    async def _catch_errors(self, call: Call, user_code: Coroutine[Any, Any, object]) -> object:
        """Catch errors inside the task, since `SystemExit` leaving one would end the loop."""
        try:
            return await user_code
        except asyncio.CancelledError as error:
            return Failure(CancelationException() if self._responder.is_abandoned(call) else error)
        except BaseException as error:  # noqa: BLE001
            return Failure(error)

    async def _report_health(self) -> None:
        self._responder.send_health(failure_reason(await self._check_health()))

    async def _check_health(self) -> object:
        check = self._predictor.healthcheck
        if check is None:
            return None
        try:
            async with asyncio.timeout(_HEALTHCHECK_SECONDS):
                result = check() if inspect.iscoroutinefunction(check) else await asyncio.to_thread(check)
                return await result if inspect.isawaitable(result) else result
        except BaseException as error:  # noqa: BLE001  sys.exit there is an answer too
            return Failure(error)


def _async_values(
    result: object, sync_values: Callable[[object], Iterator[object] | None]
) -> AsyncIterator[object] | None:
    """Return the values of an iterator of either kind, or None if the result is no iterator."""
    if isinstance(result, AsyncIterator):
        return cast("AsyncIterator[object]", result)
    values = sync_values(result)
    return None if values is None else _yield_to_others(values)


async def _yield_to_others(values: Iterator[object]) -> AsyncGenerator[object]:
    """Yield the values of a sync iterator, and let other tasks run between them."""
    try:
        for value in values:
            yield value
            await asyncio.sleep(0)
    finally:
        if close := getattr(values, "close", None):
            close()
