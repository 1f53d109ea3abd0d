"""Pushes: an archive becomes a job that builds a version of it."""

import hashlib
import re
from collections.abc import AsyncGenerator
from typing import Final, Protocol

import structlog
from msgspec import Struct, json

from gateway import ids
from gateway.catalog.catalog import Version, as_version
from gateway.errors import BodyTooLarge, Forbidden, Unprocessable
from gateway.files.store import FileStore
from gateway.predictions.submit import Submitter
from gateway.store.accounts import Account
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from schemas import keys
from schemas.keys import INCOMING
from schemas.models import Manifest
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.pushes")

POOL: Final = "default"
MODEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE: Final = "a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit."


class AccountNames(Protocol):
    """The names of accounts."""

    async def exists(self, username: str) -> bool: ...


class ReceivedArchive(Struct, frozen=True, kw_only=True):
    """An archive in the file store, under a key that nobody else knows."""

    key: str
    digest: str
    size: int


class PushService:
    """Receives archives, and creates the jobs that build versions of them. Used by the routes of pushes."""

    def __init__(
        self,
        *,
        accounts: AccountNames,
        predictions: PredictionStore,
        models: ModelStore,
        submitter: Submitter,
        files: FileStore,
        limit: int,
    ) -> None:
        self._accounts = accounts
        self._predictions = predictions
        self._models = models
        self._submitter = submitter
        self._files = files
        self._limit = limit

    async def require_owner(self, account: Account, owner: str) -> None:
        """Refuse a push to a name of somebody else's account, by raising `Forbidden`."""
        if owner != account.username and await self._accounts.exists(owner):
            raise Forbidden(f"{owner} is another account. Push to {account.username}/…, or to a name of no account.")

    async def push(
        self, account: Account, owner: str, name: str, content: AsyncGenerator[bytes], digest: str | None
    ) -> tuple[Prediction | Version, bool]:
        """Receive an archive, and return its push and whether that is new; or the version, if it exists already.

        Raises `BodyTooLarge`, `Unprocessable`, `NoFiles`, `QueueFull` or `Unavailable`; then nothing was accepted.
        """
        key = f"{INCOMING}/{ids.new_upload_id()}"
        archive = await self._receive(key, content)
        try:
            if digest is not None and digest.lower().removeprefix("sha256:") != archive.digest:
                raise Unprocessable(f"Samovar-Digest: the body's sha256 is {archive.digest}. Send it again.")
            return await self._create_build(
                account, Manifest(owner=owner, name=name, pack=archive.digest, size=archive.size), key
            )
        finally:
            await self._files.remove(key)

    async def _create_build(self, account: Account, manifest: Manifest, key: str) -> tuple[Prediction | Version, bool]:
        while True:
            if (row := await self._models.get_version(manifest.version)) is not None:
                return as_version(row), False
            if (unfinished := await self._predictions.find_unfinished_build(manifest.version)) is not None:
                return unfinished, False
            p = self._submitter.new_push(account.id, manifest)
            if await self._commit(p, manifest, key):
                log.info("pushed", model=p.model, version=p.version, push=p.id, bytes=manifest.size)
                await self._submitter.submit_committed(p)
                return p, True

    async def _commit(self, p: Prediction, manifest: Manifest, key: str) -> bool:
        """Put archive and manifest in their places, and insert the row of the push.

        Returns False if another push was faster.
        """
        async with self._models.lock(manifest.pack) as connection:
            archive_key = keys.archive(manifest.pack)
            if not await self._files.exists(archive_key):
                await self._files.move(key, archive_key)
            await self._files.write(keys.manifest(manifest.version), json.encode(manifest))
            return await self._predictions.create_build(p, POOL, connection)

    async def _receive(self, key: str, content: AsyncGenerator[bytes]) -> ReceivedArchive:
        hash, size = hashlib.sha256(), 0
        first = await anext(content, b"")
        if not first:
            raise Unprocessable("The body is empty: send a tar archive of the model's folder.")

        async def hashed() -> AsyncGenerator[bytes]:
            nonlocal size
            piece = first
            while piece:
                size += len(piece)
                if size > self._limit:
                    raise BodyTooLarge(f"An archive may be {self._limit:,} bytes. Leave out what it does not need.")
                hash.update(piece)
                yield piece
                piece = await anext(content, b"")

        await self._files.receive(key, hashed())
        return ReceivedArchive(key=key, digest=hash.hexdigest(), size=size)


def check_name(field: str, text: str) -> None:
    """Refuse a name that is not valid, by raising `Unprocessable`."""
    if not MODEL_NAME.fullmatch(text):
        raise Unprocessable(f"{field} {text!r}: {NAME_RULE}")


def join_logs(push: str, setup: str) -> str:
    """Return a version's log: that of its push, which usually includes that of its set-up."""
    return push if setup in push else f"{push.rstrip()}\n== setup\n{setup}"
