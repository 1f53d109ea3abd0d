"""The file store: archives, manifests, uploads, inputs too large for a message, and the files that models make."""

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

from gateway.errors import NoFiles, NotFound
from schemas import keys
from schemas.subjects import INLINE

log = structlog.get_logger("samovar.files")


CHUNK: Final = 5 * 1024 * 1024  # bytes; object stores take no smaller ones
CHUNKS: Final = 2  # on their way at a time: all of them are in memory, of every file that is being received


class Stored(Struct, frozen=True, kw_only=True):
    """What is known of a file without reading it."""

    key: str
    size: int
    modified: datetime
    etag: str | None


class Files:
    """Output files are kept under `out/<prediction>/<random>/<name>`; whoever knows that may read them."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"mkdir": True} if url.startswith("file:") else {"client_options": _client()}
        self._store = cast(LocalStore, from_url(url, **options))

    async def spill(self, input: Raw) -> tuple[Raw, str | None]:
        """An input as a job carries it: itself, or the key under which it is kept."""
        text = bytes(input)
        if len(text) <= INLINE:
            return input, None
        key = keys.input(hashlib.sha256(text).hexdigest())
        await self.write(key, text)
        return Raw(b"null"), key

    async def about(self, key: str) -> Stored:
        """Raises `NotFound`."""
        with _reached(key):
            return _stored(dict(await obstore.head_async(self._store, key)))

    async def there(self, key: str) -> bool:
        try:
            await self.about(key)
        except NotFound:
            return False
        return True

    async def open(self, key: str, start: int = 0, end: int | None = None) -> tuple[int, AsyncGenerator[bytes]]:
        """How many bytes there are from `start` to before `end`, and these, piece by piece. Raises `NotFound`."""
        wanted: Any = None
        if end is not None:
            wanted = {"range": (start, end)}
        elif start:
            wanted = {"range": {"offset": start}}
        with _reached(key):
            result = await obstore.get_async(self._store, key, options=wanted)
        first, last = result.range

        async def content() -> AsyncGenerator[bytes]:
            async for piece in result.stream(min_chunk_size=256 * 1024):
                yield bytes(piece)

        return last - first, content()

    async def start(self, about: Stored, size: int) -> bytes:
        """How it begins. Raises `NotFound`."""
        if not about.size:
            return b""
        with _reached(about.key):
            wanted = min(size, about.size)
            return bytes(await obstore.get_range_async(self._store, about.key, start=0, end=wanted))

    async def read(self, key: str) -> bytes:
        """Raises `NotFound`."""
        with _reached(key):
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def write(self, key: str, content: bytes) -> None:
        with _reached(key):
            await obstore.put_async(self._store, key, content)

    async def receive(self, key: str, content: AsyncIterator[bytes]) -> None:
        """A file of any size as it comes; nothing of it is left when `content` breaks off."""
        with _reached(key):
            await obstore.put_async(
                self._store, key, content, use_multipart=True, chunk_size=CHUNK, max_concurrency=CHUNKS
            )

    async def move(self, source: str, target: str) -> None:
        with _reached(source):
            try:
                await obstore.rename_async(self._store, source, target)
            except BaseError:  # some stores copy files up to a size only
                result = await obstore.get_async(self._store, source)
                await obstore.put_async(self._store, target, result.stream(), use_multipart=True)
                await obstore.delete_async(self._store, source)

    async def remove(self, key: str) -> None:
        """Also one that is not there."""
        with suppress(NotFound), _reached(key):
            await obstore.delete_async(self._store, key)

    async def listed(self, prefix: str) -> AsyncGenerator[Sequence[Stored]]:
        """All files whose keys begin with this folder, some at a time."""
        with _reached(prefix):
            async for chunk in obstore.list(self._store, prefix, chunk_size=1000):
                yield [_stored(dict(each)) for each in chunk]


def _stored(meta: dict[str, Any]) -> Stored:
    return Stored(key=meta["path"], size=meta["size"], modified=meta["last_modified"], etag=meta["e_tag"])


@contextmanager
def _reached(key: str) -> Generator[None]:
    """What the store says, in our words. A key that cannot be one is a file that is not there."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise NotFound("File not found") from error
    except (BaseError, OSError) as error:
        log.error("file_store_failed", key=key, reason=str(error).partition("\n")[0])
        raise NoFiles from error


def _client() -> dict[str, Any]:
    """Of an object store: a request lasts as long as a file is read, and whoever reads it may be slow.

    What is given here takes the place of what the environment says of the client, which is this for a test server.
    """
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    return {"timeout": "6h", "connect_timeout": "10s", "allow_http": plain}
