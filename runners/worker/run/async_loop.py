"""Runs async predictors, on an event loop that also listens to the agent."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, Never, TypeVar, cast

from ..cog.errors import CancelationException
from ..devices.parking import Memory
from ..frames import Item, Park, Run
from ..predictor.loader import Predictor
from .batch import Batch, steps
from .call import STREAMED, Raised, Turn
from .healthcheck import found
from .interrupts import Guard
from .requests import Inbox
from .responder import Desk

R = TypeVar("R")

_WELL_WITHIN: Final = 5.0


class Looped:
    def __init__(self, predictor: Predictor, inbox: Inbox, desk: Desk, guard: Guard, memory: Memory) -> None:
        self._predictor = predictor
        self._inbox = inbox
        self._desk = desk
        self._batch = Batch(predictor, desk)
        self._guard = guard
        self._memory = memory
        self._mail = asyncio.Event()
        self._turns: dict[Turn, asyncio.Task[object] | None] = {}
        """What runs, and the user code in it that may be interrupted."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(self, fd: int) -> Never:
        # The guard is never entered, so a knock is only noted: the socket itself tells what is to stop.
        self._guard.listen(lambda: False)
        asyncio.get_running_loop().add_reader(fd, self._look)
        if self._predictor.concurrency > 1:
            await self._side_by_side(self._predictor.concurrency)
        while True:
            while run := self._inbox.next():
                if isinstance(run, Park):
                    self._memory.answer(run)
                else:
                    await self._live(run)
            self._mail.clear()
            await self._mail.wait()

    async def _side_by_side(self, most: int) -> Never:
        running: set[asyncio.Task[None]] = set()
        while True:
            self._mail.clear()
            for task in [task for task in running if task.done()]:
                running.discard(task)
                task.result()
            while len(running) < most and (run := self._inbox.next(idle=not running)):
                if isinstance(run, Park):
                    self._memory.answer(run)
                    continue
                task = asyncio.create_task(self._apart(run))
                running.add(task)
                task.add_done_callback(lambda _: self._mail.set())
            await self._mail.wait()

    async def _apart(self, run: Run) -> None:
        """In a task of its own, whose prints are this run's alone."""
        self._desk.claim(run.items)
        await self._live(run)

    async def _live(self, run: Run) -> None:
        for items in self._desk.calls(run):
            with self._desk.turn(items) as turn:
                self._turns[turn] = None
                try:
                    await self._answer(items, turn)
                finally:
                    del self._turns[turn]
            self._memory.tell()

    def _look(self) -> None:
        self._inbox.look()
        self._desk.withdraw()
        self._mail.set()
        for turn, task in self._turns.items():
            self._desk.dismiss(turn)
            if task is not None and self._desk.unwanted(turn):
                task.cancel()
                self._turns[turn] = None  # once: what cleans up is left in peace
        for _ in range(self._inbox.asked()):
            task = asyncio.create_task(self._say_how_it_is())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, items: list[Item], turn: Turn) -> None:
        if len(items) == 1:
            self._desk.answer(items[0], turn, await self._attempt(turn, self._alone(items[0], turn)))
            return
        for fewer in self._batch.settled(turn, await self._attempt(turn, self._together(turn))):
            await self._answer(fewer, turn)

    async def _alone(self, item: Item, turn: Turn) -> object:
        result = self._predictor.predict(**await self._read(lambda: self._desk.read(item, turn)))
        if inspect.isawaitable(result):
            result = await result
        values = _async(result, self._desk.values)
        return (
            result if values is None else await self._streamed(turn, values, lambda v: self._desk.chunk(item, turn, v))
        )

    async def _together(self, turn: Turn) -> object:
        assert self._predictor.predict_batch is not None
        result = self._predictor.predict_batch(await self._read(lambda: self._batch.inputs(turn)))
        if inspect.isawaitable(result):
            result = await result
        values = _async(result, steps)
        return result if values is None else await self._streamed(turn, values, lambda v: self._batch.step(turn, v))

    async def _read(self, read: Callable[[], R]) -> R:
        return read() if self._desk.quick else await asyncio.to_thread(read)

    async def _streamed(self, turn: Turn, values: AsyncIterator[object], take: Callable[[object], None]) -> object:
        try:
            async for value in values:
                take(value)
                if not self._desk.wanted(turn):
                    break
        finally:
            if close := getattr(values, "aclose", None):
                await close()
        return STREAMED

    async def _attempt(self, turn: Turn, user: Coroutine[Any, Any, object]) -> object:
        """User code: what it returns, or `Raised`."""
        self._turns[turn] = task = asyncio.create_task(self._caught(turn, user))
        try:
            await asyncio.wait([task])
        finally:
            self._turns[turn] = None
        return task.result()

    async def _caught(self, turn: Turn, user: Coroutine[Any, Any, object]) -> object:
        """Caught inside the task, since `SystemExit` leaving one would end the loop."""
        try:
            return await user
        except asyncio.CancelledError as error:
            return Raised(CancelationException() if self._desk.unwanted(turn) else error)
        except BaseException as error:  # noqa: BLE001
            return Raised(error)

    async def _say_how_it_is(self) -> None:
        self._desk.well(found(await self._checked()))

    async def _checked(self) -> object:
        check = self._predictor.healthcheck
        if check is None:
            return None
        try:
            async with asyncio.timeout(_WELL_WITHIN):
                result = check() if inspect.iscoroutinefunction(check) else await asyncio.to_thread(check)
                return await result if inspect.isawaitable(result) else result
        except BaseException as error:  # noqa: BLE001  sys.exit there is an answer too
            return Raised(error)


def _async(result: object, sync: Callable[[object], Iterator[object] | None]) -> AsyncIterator[object] | None:
    """The values of an iterator of either kind."""
    if isinstance(result, AsyncIterator):
        return cast("AsyncIterator[object]", result)
    values = sync(result)
    return None if values is None else _paced(values)


async def _paced(values: Iterator[object]) -> AsyncGenerator[object]:
    """With time for others between them."""
    try:
        for value in values:
            yield value
            await asyncio.sleep(0)
    finally:
        if close := getattr(values, "close", None):
            close()
