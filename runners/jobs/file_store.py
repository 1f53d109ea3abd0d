"""Files that a prediction brings or makes: they travel by way of the file store, events carry their keys."""

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, BinaryIO, Final

import obstore
from msgspec import Raw, json
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, LocalStore, ObjectStore, from_url

from runners.errors import FileStoreError, NotThere
from runners.jobs.json_strings import mapped
from schemas import keys

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

MARK: Final = "file:"
PIECE: Final = 1_000_000  # bytes
SILENCE: Final = 60.0  # seconds without a byte after which a download is given up
_CLIENT: Final["ClientConfig"] = {"timeout": "6h", "connect_timeout": "10s"}  # of a whole file, which may be large
_RETRY: Final["RetryConfig"] = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}


class Files:
    def __init__(self, store: ObjectStore | HTTPStore) -> None:
        self._store = store
        # A plain HTTP server takes a file in one piece.
        self._multipart = False if isinstance(store, HTTPStore) else None

    async def fetch(self, key: str) -> bytes:
        """Raises `NotThere` or another `FileStoreError`."""
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise NotThere(f"there is no {key} in the file store") from error
        except (BaseError, OSError) as error:
            raise FileStoreError(f"cannot fetch {key} from the file store: {_said(error)}") from error

    async def fetch_to(self, key: str, path: Path, limit: int) -> str:
        """Into a file that is made anew; the sha256 of what came. Raises as `fetch` does."""
        digest, size = hashlib.sha256(), 0
        try:
            found = await obstore.get_async(self._store, key)
            if found.meta["size"] > limit:
                raise FileStoreError(f"{key} is {found.meta['size']} bytes, and {limit} are the limit")
            chunks = aiter(found.stream(min_chunk_size=PIECE))
            with path.open("xb") as out:
                while (chunk := await self._next(chunks)) is not None:
                    size += len(chunk)
                    if size > limit:
                        raise FileStoreError(f"{key} is larger than {limit} bytes, which are the limit")
                    await asyncio.to_thread(_take, out, digest.update, chunk)
        except FileNotFoundError as error:
            raise NotThere(f"there is no {key} in the file store") from error
        except (BaseError, OSError) as error:
            raise FileStoreError(f"cannot fetch {key} from the file store: {_said(error)}") from error
        return digest.hexdigest()

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(SILENCE):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise FileStoreError(f"the file store said nothing for {SILENCE:g} s") from error
        return bytes(chunk) if chunk is not None else None

    async def keep(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]:
        """Upload files of a value: the value with their keys in the place of their paths, and the keys."""
        drawn = {path: await self._upload(id, Path(path)) for path in dict.fromkeys(paths)}
        renamed = {f"{MARK}{path}": f"{MARK}{key}" for path, key in drawn.items()}
        return Raw(json.encode(mapped(json.decode(value), lambda text: renamed.get(text, text)))), list(drawn.values())

    async def spill(self, id: str, value: bytes) -> str:
        """Upload a value that no message can carry; its key."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(value).hexdigest())
        key = keys.value(id, token_urlsafe(16), digest)
        try:
            await obstore.put_async(self._store, key, value, use_multipart=self._multipart)
        except (BaseError, OSError, ValueError) as error:
            raise FileStoreError(f"cannot store an output of {len(value)} bytes: {_said(error)}") from error
        return key

    async def _upload(self, id: str, path: Path) -> str:
        key = keys.output(id, token_urlsafe(16), path.name)
        try:
            await obstore.put_async(self._store, key, path, use_multipart=self._multipart)
        except (BaseError, OSError, ValueError) as error:
            raise FileStoreError(f"cannot store the output file {path.name}: {_said(error)}") from error
        await asyncio.to_thread(_tidy, path)
        return key


def at(url: str, token: str | None = None) -> Files:
    """The store at a URL; a local folder is made. `http(s)://` is a gateway's `/-/files`, which asks for the token."""
    try:
        if url.startswith("file://"):
            return Files(LocalStore(prefix=url.removeprefix("file://"), mkdir=True))
        if re.match(r"https?://", url):
            options: ClientConfig = {**_CLIENT, "allow_http": True}
            if token:
                options["default_headers"] = {"Authorization": f"Bearer {token}"}
            return Files(HTTPStore(url.rstrip("/"), client_options=options, retry_config=_RETRY))
        # What is given here takes the place of what the environment says of the client: this is for a test server.
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
        return Files(from_url(url, client_options={**_CLIENT, "allow_http": plain}, retry_config=_RETRY))
    except (BaseError, OSError, ValueError) as error:
        raise FileStoreError(f"SAMOVAR_FILES_URL cannot be used: {error}") from error


def _take(out: BinaryIO, update: Callable[[bytes], None], chunk: bytes) -> None:
    update(chunk)
    out.write(chunk)


def _said(error: Exception) -> str:
    """Its first line: the rest is how the library puts it for programmers."""
    return str(error).strip().partition("\n")[0]


def _tidy(path: Path) -> None:
    """Files in the temporary folder were made for us; others are the model's own."""
    if path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve()):
        with suppress(OSError):
            path.unlink(missing_ok=True)
