"""The file store: archives, manifests, uploads, large inputs, and the files that models make."""

import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, cast

import obstore
import structlog
from msgspec import Raw, Struct
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from gateway.errors import FileStoreUnavailable, NotFound
from schemas import keys
from schemas.subjects import MAX_INLINE_BYTES

log = structlog.get_logger("samovar.files")


CHUNK_BYTES: Final = 5 * 1024 * 1024  # object stores accept no smaller ones
MAX_CHUNKS_IN_FLIGHT: Final = 2  # all of them are in memory, of every file that is being received


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file's key, size and times, known without reading it."""

    key: str
    size: int
    modified: datetime
    etag: str | None


class FileStore:
    """The files of the installation, in a folder or an object store.

    Output files have keys `out/<prediction>/<random>/<name>`; whoever knows one may read the file.
    """

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"mkdir": True} if url.startswith("file:") else {"client_options": _client_options()}
        self._store = cast(LocalStore, from_url(url, **options))

    async def spill_input(self, input: Raw) -> tuple[Raw, str | None]:
        """Return an input as a job carries it: the input itself, or null and the key under which it is stored."""
        text = bytes(input)
        if len(text) <= MAX_INLINE_BYTES:
            return input, None
        key = keys.input(hashlib.sha256(text).hexdigest())
        await self.write(key, text)
        return Raw(b"null"), key

    async def stat(self, key: str) -> StoredFile:
        """Return a file's size and times. Raises `NotFound`."""
        with _translate_errors(key):
            return _as_stored_file(dict(await obstore.head_async(self._store, key)))

    async def exists(self, key: str) -> bool:
        """Return whether there is a file of this key."""
        try:
            await self.stat(key)
        except NotFound:
            return False
        return True

    async def open(self, key: str, start: int = 0, end: int | None = None) -> tuple[int, AsyncGenerator[bytes]]:
        """Return how many bytes there are from `start` to before `end`, and an iterator over them.

        Raises `NotFound`.
        """
        options: Any = None
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        with _translate_errors(key):
            result = await obstore.get_async(self._store, key, options=options)
        first, last = result.range

        async def content() -> AsyncGenerator[bytes]:
            async for piece in result.stream(min_chunk_size=256 * 1024):
                yield bytes(piece)

        return last - first, content()

    async def read_start(self, file: StoredFile, size: int) -> bytes:
        """Return the first `size` bytes of a file. Raises `NotFound`."""
        if not file.size:
            return b""
        with _translate_errors(file.key):
            length = min(size, file.size)
            return bytes(await obstore.get_range_async(self._store, file.key, start=0, end=length))

    async def read(self, key: str) -> bytes:
        """Return a file's content. Raises `NotFound`."""
        with _translate_errors(key):
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def write(self, key: str, content: bytes) -> None:
        """Write a file."""
        with _translate_errors(key):
            await obstore.put_async(self._store, key, content)

    async def receive(self, key: str, content: AsyncIterator[bytes]) -> None:
        """Write a file of any size as it arrives; nothing of it stays if `content` breaks off."""
        with _translate_errors(key):
            await obstore.put_async(
                self._store,
                key,
                content,
                use_multipart=True,
                chunk_size=CHUNK_BYTES,
                max_concurrency=MAX_CHUNKS_IN_FLIGHT,
            )

    async def move(self, source: str, target: str) -> None:
        """Move a file to another key."""
        with _translate_errors(source):
            try:
                await obstore.rename_async(self._store, source, target)
            except BaseError:  # some stores copy files only up to some size
                result = await obstore.get_async(self._store, source)
                await obstore.put_async(self._store, target, result.stream(), use_multipart=True)
                await obstore.delete_async(self._store, source)

    async def remove(self, key: str) -> None:
        """Remove a file, if it is there."""
        with suppress(NotFound), _translate_errors(key):
            await obstore.delete_async(self._store, key)

    async def list_files(self, prefix: str) -> AsyncGenerator[Sequence[StoredFile]]:
        """Yield all files whose keys begin with this folder, some at a time."""
        with _translate_errors(prefix):
            async for chunk in obstore.list(self._store, prefix, chunk_size=1000):
                yield [_as_stored_file(dict(each)) for each in chunk]


def _as_stored_file(meta: dict[str, Any]) -> StoredFile:
    return StoredFile(key=meta["path"], size=meta["size"], modified=meta["last_modified"], etag=meta["e_tag"])


@contextmanager
def _translate_errors(key: str) -> Generator[None]:
    """Turn failures of the store into errors of the gateway. An impossible key is a file that is not there."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise NotFound("File not found") from error
    except (BaseError, OSError) as error:
        log.error("file_store_failed", key=key, reason=str(error).partition("\n")[0])
        raise FileStoreUnavailable from error


def _client_options() -> dict[str, Any]:
    """Return the options of an object store's client.

    A request lasts as long as a file is read, and whoever reads it may be slow. These options replace what the
    environment says of the client, which is the `allow_http` of a test server.
    """
    allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    return {"timeout": "6h", "connect_timeout": "10s", "allow_http": allow_http}
