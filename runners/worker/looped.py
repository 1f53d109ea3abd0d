"""Runs async predictors, on an event loop that also listens to the agent."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Never, cast

from .cog.errors import CancelationException
from .desk import STREAMED, Desk, Raised, Turn
from .frames import Item
from .guard import Guard
from .inbox import Inbox
from .predictor import Predictor


class Looped:
    def __init__(self, predictor: Predictor, inbox: Inbox, desk: Desk, guard: Guard) -> None:
        self._predictor = predictor
        self._inbox = inbox
        self._desk = desk
        self._guard = guard
        self._mail = asyncio.Event()
        self._turn: Turn | None = None
        self._task: asyncio.Task[object] | None = None

    async def work(self, fd: int) -> Never:
        # The guard is never entered, so a knock is only noted: the socket itself tells what is to stop.
        self._guard.listen(lambda: False)
        asyncio.get_running_loop().add_reader(fd, self._look)
        while True:
            while run := self._inbox.next():
                for items in self._desk.calls(run):
                    with self._desk.turn(items) as self._turn:
                        await self._answer(items, self._turn)
                    self._turn = None
            self._mail.clear()
            await self._mail.wait()

    def _look(self) -> None:
        self._inbox.look()
        self._mail.set()
        if self._task and self._turn and self._desk.unwanted(self._turn):
            self._task.cancel()
            self._task = None  # once: what cleans up is left in peace

    async def _answer(self, items: list[Item], turn: Turn) -> None:
        if len(items) == 1:
            return self._desk.answer(items[0], turn, await self._attempt(self._alone(items[0], turn)))
        results = await self._attempt(self._together(items, turn))
        if not isinstance(results, Raised) or self._desk.unwanted(turn):
            return self._desk.share(items, turn, results)
        self._desk.complain(results.error)
        for half in self._desk.halves(items, turn):
            await self._answer(half, turn)
        return None

    async def _alone(self, item: Item, turn: Turn) -> object:
        inputs = await asyncio.to_thread(self._desk.read, item, turn)
        result = self._predictor.predict(**inputs)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, AsyncIterator):
            return await self._streamed(item, cast("AsyncIterator[object]", result))
        values = self._desk.values(result)
        if values is None:
            return result
        for value in values:
            self._desk.chunk(item, value)
        return STREAMED

    async def _streamed(self, item: Item, values: AsyncIterator[object]) -> object:
        try:
            async for value in values:
                self._desk.chunk(item, value)
        finally:
            if close := getattr(values, "aclose", None):
                await close()
        return STREAMED

    async def _together(self, items: list[Item], turn: Turn) -> object:
        assert self._predictor.predict_batch is not None
        result = self._predictor.predict_batch([self._desk.read(item, turn) for item in items])
        return await result if inspect.isawaitable(result) else result

    async def _attempt(self, user: Coroutine[Any, Any, object]) -> object:
        """User code: what it returns, or `Raised`."""
        self._task = task = asyncio.create_task(self._caught(user))
        try:
            await asyncio.wait([task])
        finally:
            self._task = None
        return task.result()

    async def _caught(self, user: Coroutine[Any, Any, object]) -> object:
        """Caught inside the task, since `SystemExit` leaving one would end the loop."""
        try:
            return await user
        except asyncio.CancelledError as error:
            return Raised(CancelationException() if self._turn and self._desk.unwanted(self._turn) else error)
        except BaseException as error:  # noqa: BLE001
            return Raised(error)
