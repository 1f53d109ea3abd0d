"""An input as its worker gets it: secrets opened, our own files fetched."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct, json

from runners.errors import BadInput, FileStoreError
from runners.jobs.json_strings import mapped
from runners.jobs.secrets import Secrets
from runners.process import scratch
from schemas import keys
from schemas.inputs import FILE, SEALED

AT_ONCE: Final = 8
_KEYS: Final = re.compile(r"(up|out|in)/[^\0]+")
_MARKS: Final = (f'"{FILE}'.encode(), f'"{SEALED}'.encode())


class Store(Protocol):
    async def fetch_to(self, key: str, path: Path, limit: int) -> str: ...


class Given(Struct, frozen=True):
    text: bytes
    files: dict[str, str] = {}
    """Paths of fetched files, by the strings that stand for them in the text."""


class Inputs:
    def __init__(self, store: Store, secrets: Secrets, *, limit: int, timeout: float) -> None:
        self._store = store
        self._secrets = secrets
        self._limit = limit
        self._timeout = timeout

    @asynccontextmanager
    async def given(self, id: str, text: bytes) -> AsyncGenerator[Given]:
        """For as long as the prediction needs its files. Raises `BadInput` and `FileStoreError`."""
        if not any(mark in text for mark in _MARKS):
            yield Given(text)
            return
        value = json.decode(text)
        wanted: dict[str, None] = {}
        mapped(value, lambda found: _note(wanted, found))
        folder = Path(scratch.inputs()) if wanted else None
        try:
            files = await self._fetched(list(wanted), folder) if folder is not None else {}
            yield Given(json.encode(self._opened(value, id)), files)
        finally:
            if folder is not None:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _opened(self, value: Any, id: str) -> Any:
        return mapped(value, lambda text: self._secrets.opened(text, id) if text.startswith(SEALED) else text)

    async def _fetched(self, marked: list[str], folder: Path) -> dict[str, str]:
        """Some at a time, each in a folder of its own: they may have one name."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, text: str) -> str:
            key = text.removeprefix(FILE)
            if not _KEYS.fullmatch(key) or ".." in key.split("/"):
                raise BadInput(f"an input names a file that is none: {key[:200]!r}")
            path = folder / str(number) / keys.safe(key.rpartition("/")[2])
            path.parent.mkdir()
            async with limit, asyncio.timeout(self._timeout):
                await self._store.fetch_to(key, path, self._limit)
            return str(path)

        try:
            async with asyncio.TaskGroup() as tasks:
                fetching = [tasks.create_task(one(number, text)) for number, text in enumerate(marked)]
        except* (BadInput, FileStoreError) as group:
            raise _first(group) from None
        except* TimeoutError:
            raise FileStoreError(f"fetching an input file took longer than {self._timeout:g} s") from None
        return {text: task.result() for text, task in zip(marked, fetching, strict=True)}


def _note(wanted: dict[str, None], text: str) -> str:
    if text.startswith(FILE):
        wanted[text] = None
    return text


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error  # pyright: ignore[reportUnknownArgumentType]
