"""Deletion of uploads that have expired."""

from datetime import timedelta
from typing import Final

import structlog

from gateway.background import run_every
from gateway.files.store import FileStore
from gateway.predictions.inputs import find_files
from gateway.store.predictions import PredictionStore
from gateway.store.uploads import UploadStore
from schemas import keys

log = structlog.get_logger("samovar.uploads")

SWEEP_SECONDS: Final = 60.0
GRACE: Final = timedelta(seconds=60)  # a prediction that names one may have been accepted in its last moment
MAX_BATCH: Final = 500


class ExpiredUploads:
    """Deletes expired uploads, except those that an unfinished prediction names."""

    def __init__(
        self,
        uploads: UploadStore,
        record: PredictionStore,
        files: FileStore,
        every: float = SWEEP_SECONDS,
        grace: timedelta = GRACE,
    ) -> None:
        self._uploads = uploads
        self._record = record
        self._files = files
        self._every = every
        self._grace = grace

    async def serve(self) -> None:
        """Sweep until canceled. Any number of gateways may do so at the same time."""
        await run_every(self._every, self._sweep_all, "expired uploads")

    async def _sweep_all(self) -> None:
        while await self.sweep() == MAX_BATCH:
            pass

    async def sweep(self) -> int:
        """Delete expired uploads and return how many.

        Files go before their rows, so a sweep that breaks off is completed by the next one.
        """
        expired = {id: keys.upload(id, name) for id, name in await self._uploads.list_expired(self._grace, MAX_BATCH)}
        if not expired:
            return 0
        needed = {key for input in await self._record.inputs_naming_files() for key in find_files(input)}
        ids = [id for id, key in expired.items() if key not in needed]
        for id in ids:
            await self._files.remove(expired[id])
        await self._uploads.delete_expired(ids)
        if ids:
            log.info("uploads_expired", files=len(ids))
        return len(ids)
