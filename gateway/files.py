"""The file store: inputs too large for a message, and the files that models make."""

import hashlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import obstore
from msgspec import Raw
from obstore.store import LocalStore, from_url

from gateway.errors import NotFound
from schemas.subjects import INLINE


class Files:
    """Keys are `in/<sha256>` and `out/<prediction>/<random>/<name>`; whoever knows the latter may read it."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"mkdir": True} if url.startswith("file:") else {}
        self._store = cast(LocalStore, from_url(url, **options))

    async def spill(self, input: Raw) -> tuple[Raw, str | None]:
        """An input as a job carries it: itself, or the key under which it is kept."""
        text = bytes(input)
        if len(text) <= INLINE:
            return input, None
        key = f"in/{hashlib.sha256(text).hexdigest()}"
        await obstore.put_async(self._store, key, text)
        return Raw(b"null"), key

    async def open(self, key: str) -> tuple[int, AsyncGenerator[bytes]]:
        """Size in bytes, and content piece by piece. Raises `NotFound`."""
        try:
            result = await obstore.get_async(self._store, key)
        except (FileNotFoundError, ValueError) as error:
            raise NotFound("File not found") from error

        async def content() -> AsyncGenerator[bytes]:
            async for piece in result.stream(min_chunk_size=256 * 1024):
                yield bytes(piece)

        return result.meta["size"], content()

    async def read(self, key: str) -> bytes:
        """Raises `NotFound`."""
        try:
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
        except FileNotFoundError as error:
            raise NotFound("File not found") from error
