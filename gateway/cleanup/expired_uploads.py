"""Uploads that have expired go by themselves."""

from datetime import timedelta
from typing import Final

import structlog

from gateway.background import every
from gateway.files.store import Files
from gateway.predictions.inputs import files_in
from gateway.store.predictions import Predictions
from gateway.store.uploads import Uploads
from schemas import keys

log = structlog.get_logger("samovar.expiring")

EVERY: Final = 60.0  # seconds between looks
GRACE: Final = timedelta(seconds=60)  # a prediction that names one may have been accepted in its last moment
MOST: Final = 500


class Expiring:
    def __init__(
        self, uploads: Uploads, record: Predictions, files: Files, every: float = EVERY, grace: timedelta = GRACE
    ) -> None:
        self._uploads = uploads
        self._record = record
        self._files = files
        self._every = every
        self._grace = grace

    async def serve(self) -> None:
        """Until it is cancelled; any number of gateways may, as what is gone is gone for all."""
        await every(self._every, self._sweep_all, "expired uploads")

    async def _sweep_all(self) -> None:
        while await self.sweep() == MOST:
            pass

    async def sweep(self) -> int:
        """How many have gone. The bytes first: what is left of a sweep that breaks off is swept again."""
        gone = {id: keys.upload(id, name) for id, name in await self._uploads.expired(self._grace, MOST)}
        if not gone:
            return 0
        needed = {key for input in await self._record.inputs_with_files() for key in files_in(input)}
        ids = [id for id, key in gone.items() if key not in needed]
        for id in ids:
            await self._files.remove(gone[id])
        await self._uploads.drop(ids)
        if ids:
            log.info("uploads_expired", files=len(ids))
        return len(ids)
