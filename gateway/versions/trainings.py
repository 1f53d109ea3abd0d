"""Trainings: inputs for a version's `train` become a job whose result is a version of the destination."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import structs

from gateway import errors
from gateway.catalog.catalog import MODEL_NAME, Version
from gateway.errors import Forbidden, NotFound, Unprocessable
from gateway.files.uploads import UploadService
from gateway.predictions.inputs import InputPreparer
from gateway.predictions.request import PredictionBody
from gateway.predictions.submit import Submitter
from gateway.store.accounts import Account
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.trainings")

NO_DESTINATION: Final = "The specified training destination does not exist"
NOT_TRAINABLE: Final = (
    "{model}: this version cannot be trained, because its cog.yaml names no `train`. "
    "docs/trainings.md says how to write one."
)


class OwnerCheck(Protocol):
    """The check of whose models an account may change."""

    async def require_owner(self, account: Account, owner: str) -> None: ...


class TrainingBody(PredictionBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that starts a training."""

    destination: str | None = None
    """`owner/name` of the model that gets the new version."""


class TrainingService:
    """Checks requests for trainings, and creates their jobs. Used by the routes of trainings."""

    def __init__(
        self,
        *,
        owners: OwnerCheck,
        predictions: PredictionStore,
        models: ModelStore,
        submitter: Submitter,
        inputs: InputPreparer,
        uploads: UploadService,
    ) -> None:
        self._owners = owners
        self._predictions = predictions
        self._models = models
        self._submitter = submitter
        self._inputs = inputs
        self._uploads = uploads

    async def start(
        self,
        account: Account,
        version: Version,
        body: TrainingBody,
        *,
        bases: tuple[str, ...],
        add_webhook: Callable[[Prediction, PredictionBody], Prediction],
        cancel_after: float | None = None,
        source: str = "api",
    ) -> Prediction:
        """Record a training and publish its job. `add_webhook` gives it the webhook that the body asks for.

        Raises `Unprocessable`, `InvalidInput`, `NotFound`, `NoFiles`, `QueueFull` or `Unavailable`; then nothing was
        accepted.
        """
        if version.trainer is None:
            raise Unprocessable(NOT_TRAINABLE.format(model=version.model))
        if body.destination is None:
            raise errors.missing_field("destination")
        await self._check_destination(account, body.destination)
        trainable = structs.replace(version, validator=version.trainer)
        input = version.trainer.check(body.input)
        p = self._submitter.new_prediction(account.id, version, cancel_after=cancel_after)
        p = add_webhook(structs.replace(p, kind="train", destination=body.destination, source=source), body)
        p = await self._inputs.prepare(p, trainable, input, bases, partial(self._uploads.resolve_key, account.id))
        await self._predictions.create_training(p, version.pool)
        await self._submitter.submit_committed(p)
        log.info("training_begun", id=p.id, model=p.model, version=p.version, destination=p.destination)
        return p

    async def _check_destination(self, account: Account, destination: str) -> None:
        """Refuse a destination that is not there or belongs to somebody else: `NotFound`."""
        parts = MODEL_NAME.fullmatch(destination)
        if parts is None:
            raise NotFound(NO_DESTINATION)
        try:
            await self._owners.require_owner(account, parts[1])
        except Forbidden as error:
            raise NotFound(NO_DESTINATION) from error
        if await self._models.get(parts[1], parts[2]) is None:
            raise NotFound(NO_DESTINATION)
