"""Predictions for clients that wait for their answer, and want nothing of it once they have left."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

from litestar.types import Receive
from msgspec import Raw, json

from gateway import metrics
from gateway.catalog.catalog import Version
from gateway.errors import GatewayError, Unavailable
from gateway.events.follower import Follower
from gateway.events.subscriptions import Closing, Live
from gateway.http import headers
from gateway.http.context import AnyRequest, bases, header, parts
from gateway.predictions.cancellation import Cancels
from gateway.predictions.submit import Creator
from gateway.store.accounts import Account
from schemas.prediction import Prediction

T = TypeVar("T")
A = TypeVar("A")

AT_ONCE: Final = 64
"""Predictions of one request: as many as two large batches."""
STOPPING: Final = "The gateway is being stopped; ask again."


class Left(Exception):
    """The client has closed the connection."""


class Completing:
    """One prediction, made for whoever waits for it."""

    def __init__(
        self,
        p: Prediction,
        version: Version,
        *,
        creator: Creator,
        live: Live,
        follower: Follower,
        cancels: Cancels,
    ) -> None:
        self.p = p
        self._version = version
        self._creator = creator
        self._live = live
        self._follower = follower
        self._cancels = cancels

    async def create(self) -> None:
        """Wholly or not at all. Raises `QueueFull` or `Unavailable`."""
        creating = asyncio.create_task(self._creator.create(self.p, self._version))
        try:
            await asyncio.shield(creating)
        except asyncio.CancelledError:
            await asyncio.wait({creating})  # half created, it could not be canceled
            raise

    async def states(self) -> AsyncGenerator[Prediction]:
        """To the final one. Raises `Unavailable` when the gateway stops before."""
        try:
            async with aclosing(self._follower.watch(self.p.id)) as states:
                async for self.p in states:
                    yield self.p
        except Closing as error:
            raise Unavailable(STOPPING) from error

    async def run(self) -> Prediction:
        """Created, and its end; canceled if that is waited for no longer. Raises like `create` and `states`."""
        with self._live.listen(self.p.id) as ear:
            try:
                await self.create()
                self.p = await self._follower.outcome(self.p, ear)
            except Closing as error:
                raise Unavailable(STOPPING) from error
            finally:
                await self.leave()
        return self.p

    async def leave(self) -> None:
        """Nobody waits any more."""
        await self._cancels.ask(self.p)


async def drawn(request: AnyRequest, account: Account, version: Version, input: dict[str, Any]) -> Completing:
    """With a checked input, and not created yet. Raises `InvalidInput`."""
    here = parts(request)
    checked = version.validator.check(Raw(json.encode(input)))
    p = here.creator.draw(
        account.id, version, cancel_after=headers.parse_cancel_after(header(request, b"cancel-after"))
    )
    p = await here.inputs.record(p, version, checked, bases(request), partial(here.uploading.resolve, account.id))
    metrics.accepted(request.scope)
    return Completing(
        p,
        version,
        creator=here.creator,
        live=here.live,
        follower=here.follower,
        cancels=here.cancels,
    )


async def held(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What comes of some work, which is cancelled if the client leaves before: then it raises `Left`."""
    task, left = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Left
        return task.result()
    finally:
        left.cancel()
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # that it is raised, or that nobody is there to hear it, is known by now


async def all_of(work: Callable[[A], Awaitable[T]], items: Sequence[A]) -> list[T]:
    """Some at a time; the first that fails ends the others."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(item: A) -> T:
        async with room:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except* GatewayError as errors:
        failed = errors.exceptions[0]
        raise failed from failed.__cause__
    return [task.result() for task in tasks]


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
