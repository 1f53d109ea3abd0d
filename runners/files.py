"""Files that a prediction brings or makes: they travel by way of the file store, events carry their keys."""

import asyncio
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

import obstore
from msgspec import Raw, json
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from runners.errors import FileStoreError
from runners.texts import mapped

MARK: Final = "file:"


class Files:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def fetch(self, key: str) -> bytes:
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise FileStoreError(f"cannot fetch {key} from the file store: {error}") from error

    async def keep(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]:
        """Upload files of a value: the value with their keys in the place of their paths, and the keys."""
        keys = {path: await self._upload(id, Path(path)) for path in dict.fromkeys(paths)}
        renamed = {f"{MARK}{path}": f"{MARK}{key}" for path, key in keys.items()}
        return Raw(json.encode(mapped(json.decode(value), lambda text: renamed.get(text, text)))), list(keys.values())

    async def _upload(self, id: str, path: Path) -> str:
        key = f"out/{id}/{token_urlsafe(16)}/{_safe(path.name)}"
        try:
            await obstore.put_async(self._store, key, path)
        except (BaseError, OSError, ValueError) as error:
            raise FileStoreError(f"cannot store the output file {path.name}: {error}") from error
        await asyncio.to_thread(_tidy, path)
        return key


def at(url: str) -> Files:
    """The store at a URL; a local folder is made."""
    try:
        if url.startswith("file://"):
            return Files(LocalStore(prefix=url.removeprefix("file://"), mkdir=True))
        return Files(from_url(url))
    except (BaseError, OSError, ValueError) as error:
        raise FileStoreError(f"SAMOVAR_FILES_URL cannot be used: {error}") from error


def _tidy(path: Path) -> None:
    """Files in the temporary folder were made for us; others are the model's own."""
    if path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve()):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _safe(name: str) -> str:
    """Any file name as a part of a key and of a URL."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-100:].lstrip(".") or "file"
