"""Many small writes as few statements: what comes while one is under way goes into the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from gateway.store.connection import meaning

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class Group(Generic[I, O]):
    """It is given items one by one; `write` sees many, and answers each in order.

    By default nothing waits for company: an item that comes when nothing is under way is written at once; seconds to
    `linger` are for writes that no client waits for. A statement that the database refuses is halved until the culprit
    stands alone, so that nobody fails for another's sake.
    """

    def __init__(
        self, write: Callable[[Sequence[I]], Awaitable[Sequence[O]]], *, most: int = 500, linger: float = 0.0
    ) -> None:
        self._write = write
        self._most = most
        self._linger = linger
        self._waiting: list[tuple[I, asyncio.Future[O]]] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, item: I) -> asyncio.Future[O]:
        """Written even if nobody waits for the answer. What the database refuses is raised as it means to us."""
        reply: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, reply))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return reply

    async def close(self) -> None:
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                if self._linger and len(self._waiting) < self._most:
                    await asyncio.sleep(self._linger)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(batch)
        finally:
            self._task = None

    async def _settle(self, batch: list[tuple[I, asyncio.Future[O]]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
            else:
                _refuse(batch, error)
        except Exception as error:  # noqa: BLE001  every waiting caller gets it
            _refuse(batch, error)
        else:
            for (_, reply), answer in zip(batch, answers, strict=True):
                if not reply.done():
                    reply.set_result(answer)


def _refuse(batch: list[tuple[I, asyncio.Future[O]]], error: Exception) -> None:
    for _, reply in batch:
        if not reply.done():
            told = meaning(error)
            told.__cause__ = error if told is not error else error.__cause__
            reply.set_exception(told)
