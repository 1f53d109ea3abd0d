"""Write coalescing: items that arrive while a statement runs go into the next one together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from gateway.store.connection import as_gateway_error

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class WriteBatcher(Generic[I, O]):
    """Writes single items in batches, and gives each caller its own result.

    `write` gets many items and returns a result for each, in order. By default nothing waits for company: an item that
    comes when no statement runs is written at once; `linger` seconds are for writes that no client waits for. A batch
    that the database refuses is halved until the culprit stands alone, so nobody fails because of somebody else.
    """

    def __init__(
        self, write: Callable[[Sequence[I]], Awaitable[Sequence[O]]], *, max_items: int = 500, linger: float = 0.0
    ) -> None:
        self._write = write
        self._max_items = max_items
        self._linger = linger
        self._waiting: list[tuple[I, asyncio.Future[O]]] = []
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: I) -> asyncio.Future[O]:
        """Queue an item and return the future of its result; it is written even if nobody waits.

        The future raises what the database's refusal means to the gateway.
        """
        reply: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, reply))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return reply

    async def close(self) -> None:
        """Wait until everything that was submitted is written."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                if self._linger and len(self._waiting) < self._max_items:
                    await asyncio.sleep(self._linger)
                batch, self._waiting = self._waiting[: self._max_items], self._waiting[self._max_items :]
                await self._write_batch(batch)
        finally:
            self._task = None

    async def _write_batch(self, batch: list[tuple[I, asyncio.Future[O]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._write_batch(batch[:middle])
                await self._write_batch(batch[middle:])
            else:
                _reject(batch, error)
        except Exception as error:  # noqa: BLE001  it is raised in every waiting caller
            _reject(batch, error)
        else:
            for (_, reply), result in zip(batch, results, strict=True):
                if not reply.done():
                    reply.set_result(result)


def _reject(batch: list[tuple[I, asyncio.Future[O]]], error: Exception) -> None:
    for _, reply in batch:
        if not reply.done():
            translated = as_gateway_error(error)
            translated.__cause__ = error if translated is not error else error.__cause__
            reply.set_exception(translated)
