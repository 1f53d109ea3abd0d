"""Predictions as routes find them, with their versions, and as they cancel and wait for them."""

import asyncio
from contextlib import aclosing
from typing import Final

from msgspec import structs

from gateway.catalog.catalog import Catalog, Version
from gateway.errors import NotFound
from gateway.events.follower import Follower
from gateway.events.subscriptions import Shutdown
from gateway.http.asgi import AnyRequest, get_services
from gateway.predictions.cancellation import Cancellations
from gateway.store.accounts import Account
from schemas.prediction import Prediction

CANCEL_WAIT_SECONDS: Final = 1.0  # how long a cancel is held, so that most clients see how it ended


class PredictionLookup:
    """Finds predictions and their versions, cancels predictions, and waits for their end."""

    def __init__(self, follower: Follower, catalog: Catalog, cancellations: Cancellations) -> None:
        self._follower = follower
        self._catalog = catalog
        self._cancellations = cancellations

    async def find(self, id: str, account: Account) -> Prediction:
        """Return a prediction of this account. Raises `NotFound`, also for one of somebody else."""
        p = await self._follower.read(id, account.id)
        if p is None or p.kind != "predict":
            raise NotFound
        return p

    async def find_version(self, p: Prediction) -> Version | None:
        """Return the version that the prediction is of; None for one that has been deleted."""
        version = await self._catalog.find_version(p.version)
        if version is None:
            return None
        # A deployment's prediction runs in the pool of its release.
        return version if version.pool == p.pool else structs.replace(version, pool=p.pool)

    async def cancel(self, p: Prediction) -> Prediction:
        """Cancel a prediction and return its state a moment later; one that has ended stays as it is."""
        return await self.wait_until_final(p) if await self._cancellations.request(p) else p

    async def wait_until_final(self, p: Prediction, seconds: float = CANCEL_WAIT_SECONDS) -> Prediction:
        """Return the prediction's state after so many seconds, or as soon as it has ended."""
        try:
            async with asyncio.timeout(seconds), aclosing(self._follower.watch(p.id)) as states:
                async for p in states:  # noqa: B007
                    pass
        except (TimeoutError, Shutdown):
            pass
        return p


def prediction_lookup(request: AnyRequest) -> PredictionLookup:
    """Return the lookup for one request."""
    services = get_services(request)
    predictions = services.predictions
    return PredictionLookup(predictions.follower, services.models.catalog, predictions.cancellations)
