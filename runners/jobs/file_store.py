"""The file store, for the files of inputs and outputs; jobs and events carry their keys."""

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

from runners.errors import FileMissing, FileStoreError
from runners.jobs.json_strings import map_strings
from schemas import keys

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

FILE_MARK: Final = "file:"
CHUNK_BYTES: Final = 1_000_000
SILENCE_SECONDS: Final = 60.0  # without a byte, after which a download fails
_CLIENT: Final["ClientConfig"] = {
    "timeout": "6h",
    "connect_timeout": "10s",
}  # the timeout is for a whole file, which may be large
_RETRY: Final["RetryConfig"] = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}


class FileStore:
    """A file store: a local folder, an object store, or a gateway's `/-/files`."""

    def __init__(self, store: ObjectStore | HTTPStore) -> None:
        self._store = store
        # A plain HTTP server takes a file in one piece.
        self._multipart = False if isinstance(store, HTTPStore) else None

    async def fetch(self, key: str) -> bytes:
        """Return the content of a file. Raises `FileMissing` or another `FileStoreError`."""
        try:
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            raise FileMissing(f"there is no {key} in the file store") from error
        except (BaseError, OSError) as error:
            raise FileStoreError(f"cannot fetch {key} from the file store: {_first_line(error)}") from error

    async def download(self, key: str, path: Path, limit: int) -> str:
        """Download a file into a new one and return its sha256. Raises as `fetch` does."""
        digest, size = hashlib.sha256(), 0
        try:
            result = await obstore.get_async(self._store, key)
            if result.meta["size"] > limit:
                raise FileStoreError(f"{key} has {result.meta['size']} bytes, and the limit is {limit}")
            chunks = aiter(result.stream(min_chunk_size=CHUNK_BYTES))
            with path.open("xb") as out:
                while (chunk := await self._next_chunk(chunks)) is not None:
                    size += len(chunk)
                    if size > limit:
                        raise FileStoreError(f"{key} is larger than the limit of {limit} bytes")
                    await asyncio.to_thread(_write_chunk, out, digest.update, chunk)
        except FileNotFoundError as error:
            raise FileMissing(f"there is no {key} in the file store") from error
        except (BaseError, OSError) as error:
            raise FileStoreError(f"cannot fetch {key} from the file store: {_first_line(error)}") from error
        return digest.hexdigest()

    async def _next_chunk(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise FileStoreError(f"the file store sent nothing for {SILENCE_SECONDS:g} s") from error
        return bytes(chunk) if chunk is not None else None

    async def upload_files(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]:
        """Upload the files of an output; return the output with keys in place of paths, and the keys."""
        uploaded = {path: await self._upload(id, Path(path)) for path in dict.fromkeys(paths)}
        renamed = {f"{FILE_MARK}{path}": f"{FILE_MARK}{key}" for path, key in uploaded.items()}
        output = map_strings(json.decode(value), lambda text: renamed.get(text, text))
        return Raw(json.encode(output)), list(uploaded.values())

    async def upload_value(self, id: str, value: bytes) -> str:
        """Upload a value that is too large for a message and return its key."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(value).hexdigest())
        key = keys.value(id, token_urlsafe(16), digest)
        try:
            await obstore.put_async(self._store, key, value, use_multipart=self._multipart)
        except (BaseError, OSError, ValueError) as error:
            raise FileStoreError(f"cannot store an output of {len(value)} bytes: {_first_line(error)}") from error
        return key

    async def _upload(self, id: str, path: Path) -> str:
        key = keys.output(id, token_urlsafe(16), path.name)
        try:
            await obstore.put_async(self._store, key, path, use_multipart=self._multipart)
        except (BaseError, OSError, ValueError) as error:
            raise FileStoreError(f"cannot store the output file {path.name}: {_first_line(error)}") from error
        await asyncio.to_thread(_delete_temporary, path)
        return key


def open_file_store(url: str, token: str | None = None) -> FileStore:
    """Open the store at a URL; create it if it is a local folder.

    `http(s)://` is a gateway's `/-/files`, which asks for the token. Raises `FileStoreError`.
    """
    try:
        if url.startswith("file://"):
            return FileStore(LocalStore(prefix=url.removeprefix("file://"), mkdir=True))
        if re.match(r"https?://", url):
            options: ClientConfig = {**_CLIENT, "allow_http": True}
            if token:
                options["default_headers"] = {"Authorization": f"Bearer {token}"}
            return FileStore(HTTPStore(url.rstrip("/"), client_options=options, retry_config=_RETRY))
        # Options here override those of the environment, which a test server needs.
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
        return FileStore(from_url(url, client_options={**_CLIENT, "allow_http": plain}, retry_config=_RETRY))
    except (BaseError, OSError, ValueError) as error:
        raise FileStoreError(f"SAMOVAR_FILES_URL cannot be used: {error}") from error


def _write_chunk(out: BinaryIO, update: Callable[[bytes], None], chunk: bytes) -> None:
    update(chunk)
    out.write(chunk)


def _first_line(error: Exception) -> str:
    """Return the first line of an error: the rest is for the library's programmers."""
    return str(error).strip().partition("\n")[0]


def _delete_temporary(path: Path) -> None:
    """Delete an uploaded file in the temporary folder: it was made for us. Other files are the model's own."""
    if path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve()):
        with suppress(OSError):
            path.unlink(missing_ok=True)
