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
from gateway.files.store import Files
from gateway.predictions.submit import Creator
from gateway.store.accounts import Account
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from schemas import keys
from schemas.keys import INCOMING
from schemas.models import Manifest
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.pushes")

POOL: Final = "default"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAMES: Final = "a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit."


class Owners(Protocol):
    async def named(self, username: str) -> bool: ...


class Archive(Struct, frozen=True, kw_only=True):
    """In the store, under a key that nobody else knows."""

    key: str
    digest: str
    size: int


class Pushes:
    def __init__(
        self, *, owners: Owners, record: Predictions, models: Models, creator: Creator, files: Files, limit: int
    ) -> None:
        self._owners = owners
        self._record = record
        self._models = models
        self._creator = creator
        self._files = files
        self._limit = limit

    async def allow(self, account: Account, owner: str) -> None:
        """Raises `Forbidden` for the name of somebody else's account."""
        if owner != account.username and await self._owners.named(owner):
            raise Forbidden(f"{owner} is another account. Push to {account.username}/…, or to a name of no account.")

    async def push(
        self, account: Account, owner: str, name: str, content: AsyncGenerator[bytes], digest: str | None
    ) -> tuple[Prediction | Version, bool]:
        """The push of an archive, and whether it was made now; or the version, if it is there.

        Raises `BodyTooLarge`, `Unprocessable`, `NoFiles`, `QueueFull` or `Unavailable`: then nothing was accepted.
        """
        key = f"{INCOMING}/{ids.draw_upload()}"
        archive = await self._receive(key, content)
        try:
            if digest is not None and digest.lower().removeprefix("sha256:") != archive.digest:
                raise Unprocessable(f"Samovar-Digest: the body's sha256 is {archive.digest}. Send it again.")
            return await self._begin(
                account, Manifest(owner=owner, name=name, pack=archive.digest, size=archive.size), key
            )
        finally:
            await self._files.remove(key)

    async def _begin(self, account: Account, manifest: Manifest, key: str) -> tuple[Prediction | Version, bool]:
        while True:
            if (row := await self._models.version(manifest.version)) is not None:
                return as_version(row), False
            if (under_way := await self._record.build_under_way(manifest.version)) is not None:
                return under_way, False
            p = self._creator.draw_build(account.id, manifest)
            if await self._commit(p, manifest, key):
                log.info("pushed", model=p.model, version=p.version, push=p.id, bytes=manifest.size)
                await self._creator.send(p, POOL)
                return p, True

    async def _commit(self, p: Prediction, manifest: Manifest, key: str) -> bool:
        """Archive and manifest in their places, and the row of the push. False: somebody else was faster."""
        async with self._models.holding(manifest.pack) as on:
            pack = keys.pack(manifest.pack)
            if not await self._files.there(pack):
                await self._files.move(key, pack)
            await self._files.write(keys.manifest(manifest.version), json.encode(manifest))
            return await self._record.create_build(p, POOL, on)

    async def _receive(self, key: str, content: AsyncGenerator[bytes]) -> Archive:
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
        return Archive(key=key, digest=hash.hexdigest(), size=size)


def check_name(field: str, text: str) -> None:
    """Raises `Unprocessable`."""
    if not NAME.fullmatch(text):
        raise Unprocessable(f"{field} {text!r}: {NAMES}")


def logs(push: str, setup: str) -> str:
    """A version's: that of its push, which mostly holds what set-up said, too."""
    return push if setup in push else f"{push.rstrip()}\n== setup\n{setup}"
