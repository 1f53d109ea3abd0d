"""Trainings: inputs for a version's `train` become a job, for the model that its result will be a version of."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import structs

from gateway import errors
from gateway.catalog.catalog import NAME, Version
from gateway.errors import Forbidden, NotFound, Unprocessable
from gateway.files.uploads import Uploading
from gateway.predictions.inputs import Inputs
from gateway.predictions.request import Body
from gateway.predictions.submit import Creator
from gateway.store.accounts import Account
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.trainings")

NO_DESTINATION: Final = "The specified training destination does not exist"
UNTRAINABLE: Final = (
    "{model}: this version cannot be trained, as its cog.yaml names no `train`. "
    "docs/trainings.md says how to write one."
)


class Owners(Protocol):
    async def allow(self, account: Account, owner: str) -> None: ...


class TrainingBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    destination: str | None = None
    """owner/name"""


class Trainings:
    def __init__(
        self,
        *,
        owners: Owners,
        record: Predictions,
        models: Models,
        creator: Creator,
        inputs: Inputs,
        uploading: Uploading,
    ) -> None:
        self._owners = owners
        self._record = record
        self._models = models
        self._creator = creator
        self._inputs = inputs
        self._uploading = uploading

    async def begin(
        self,
        account: Account,
        version: Version,
        body: TrainingBody,
        *,
        bases: tuple[str, ...],
        hooked: Callable[[Prediction, Body], Prediction],
        cancel_after: float | None = None,
        source: str = "api",
    ) -> Prediction:
        """Accepted: recorded, and on its way. `hooked` gives it the webhook that is asked for.

        Raises `Unprocessable`, `InvalidInput`, `NotFound`, `NoFiles`, `QueueFull` or `Unavailable`: then it is not.
        """
        if version.trainer is None:
            raise Unprocessable(UNTRAINABLE.format(model=version.model))
        if body.destination is None:
            raise errors.missing("destination")
        await self._check(account, body.destination)
        trained = structs.replace(version, validator=version.trainer)
        input = version.trainer.check(body.input)
        p = self._creator.draw(account.id, version, cancel_after=cancel_after)
        p = hooked(structs.replace(p, kind="train", destination=body.destination, source=source), body)
        p = await self._inputs.record(p, trained, input, bases, partial(self._uploading.resolve, account.id))
        await self._record.create_training(p, version.pool)
        await self._creator.send(p, version.pool)
        log.info("training_begun", id=p.id, model=p.model, version=p.version, destination=p.destination)
        return p

    async def _check(self, account: Account, destination: str) -> None:
        """Raises `NotFound`, also for a model of somebody else."""
        parts = NAME.fullmatch(destination)
        if parts is None:
            raise NotFound(NO_DESTINATION)
        try:
            await self._owners.allow(account, parts[1])
        except Forbidden as error:
            raise NotFound(NO_DESTINATION) from error
        if await self._models.model(parts[1], parts[2]) is None:
            raise NotFound(NO_DESTINATION)
