"""Predictions that live as long as the request that waits for them: they are canceled when the client leaves."""

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
from gateway.events.live_events import LiveEvents
from gateway.events.subscriptions import Shutdown
from gateway.http import headers
from gateway.http.asgi import AnyRequest, get_services, header
from gateway.http.context import own_base_urls
from gateway.predictions.cancellation import Cancellations
from gateway.predictions.submit import Submitter
from gateway.store.accounts import Account
from schemas.prediction import Prediction

T = TypeVar("T")
A = TypeVar("A")

MAX_CONCURRENT_RUNS: Final = 64
"""Predictions of one request at a time: as many as two large batches."""
STOPPING_DETAIL: Final = "The gateway is being stopped; ask again."


class ClientLeft(Exception):
    """The client has closed the connection."""


class AttachedRun:
    """A prediction that is canceled when nobody waits for it any more; used by OpenAI's API."""

    def __init__(
        self,
        prediction: Prediction,
        *,
        submitter: Submitter,
        live_events: LiveEvents,
        follower: Follower,
        cancellations: Cancellations,
    ) -> None:
        self.prediction = prediction
        self._submitter = submitter
        self._live_events = live_events
        self._follower = follower
        self._cancellations = cancellations

    async def submit(self) -> None:
        """Submit the prediction, wholly or not at all. Raises `QueueFull` or `Unavailable`."""
        submission = asyncio.create_task(self._submitter.submit(self.prediction))
        try:
            await asyncio.shield(submission)
        except asyncio.CancelledError:
            await asyncio.wait({submission})  # half submitted, it could not be canceled
            raise

    async def states(self) -> AsyncGenerator[Prediction]:
        """Yield the prediction's states to the final one. Raises `Unavailable` when the gateway stops before."""
        try:
            async with aclosing(self._follower.watch(self.prediction.id)) as states:
                async for self.prediction in states:
                    yield self.prediction
        except Shutdown as error:
            raise Unavailable(STOPPING_DETAIL) from error

    async def complete(self) -> Prediction:
        """Submit the prediction and return its final state; cancel it if the wait is cancelled.

        Raises what `submit` and `states` raise.
        """
        with self._live_events.subscribe(self.prediction.id) as subscriber:
            try:
                await self.submit()
                self.prediction = await self._follower.wait_for_outcome(self.prediction, subscriber)
            except Shutdown as error:
                raise Unavailable(STOPPING_DETAIL) from error
            finally:
                await self.cancel()
        return self.prediction

    async def cancel(self) -> None:
        """Cancel the prediction, if it has not ended."""
        await self._cancellations.request(self.prediction)


async def prepare_run(request: AnyRequest, account: Account, version: Version, input: dict[str, Any]) -> AttachedRun:
    """Return a prediction with a checked input, not submitted yet. Raises `InvalidInput`."""
    services = get_services(request)
    predictions = services.predictions
    checked = version.validator.check(Raw(json.encode(input)))
    p = predictions.submitter.new_prediction(
        account.id, version, cancel_after=headers.parse_cancel_after(header(request, b"cancel-after"))
    )
    resolve_upload = partial(services.files.uploads.resolve_key, account.id)
    p = await predictions.inputs.prepare(p, version, checked, own_base_urls(request), resolve_upload)
    metrics.observe_accept(request.scope)
    return AttachedRun(
        p,
        submitter=predictions.submitter,
        live_events=predictions.live_events,
        follower=predictions.follower,
        cancellations=predictions.cancellations,
    )


async def run_while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; cancel it and raise `ClientLeft` if the client leaves before."""
    task, disconnect = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        disconnect.cancel()
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # marks it as retrieved: it was raised above, or nobody waits for it


async def run_all(work: Callable[[A], Awaitable[T]], items: Sequence[A]) -> list[T]:
    """Run the work for every item, some at a time; the first failure ends the others."""
    slots = asyncio.Semaphore(MAX_CONCURRENT_RUNS)

    async def one(item: A) -> T:
        async with slots:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except* GatewayError as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
