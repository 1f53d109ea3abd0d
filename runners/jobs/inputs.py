"""The inputs of jobs, with secrets opened and our own files downloaded."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct, json

from runners.errors import BadInput, FileStoreError
from runners.jobs.json_strings import map_strings
from runners.jobs.secrets import SecretBox
from runners.process import scratch
from schemas import keys
from schemas.inputs import FILE_PREFIX, SEALED_PREFIX

MAX_CONCURRENT_DOWNLOADS: Final = 8
_KEYS: Final = re.compile(r"(up|out|in)/[^\0]+")
_MARKS: Final = (f'"{FILE_PREFIX}'.encode(), f'"{SEALED_PREFIX}'.encode())


class Downloader(Protocol):
    """The part of the file store that inputs use."""

    async def download(self, key: str, path: Path, limit: int) -> str: ...


class OpenedInput(Struct, frozen=True):
    """An input as its worker gets it."""

    text: bytes
    files: dict[str, str] = {}
    """Paths of downloaded files, by their placeholders in the text."""


class InputOpener:
    """Opens the inputs of jobs, with at most `limit` bytes and `timeout` seconds for each file."""

    def __init__(self, store: Downloader, secrets: SecretBox, *, limit: int, timeout: float) -> None:
        self._store = store
        self._secrets = secrets
        self._limit = limit
        self._timeout = timeout

    @asynccontextmanager
    async def open(self, id: str, text: bytes) -> AsyncGenerator[OpenedInput]:
        """Open an input; its files exist during the `with` block. Raises `BadInput` and `FileStoreError`."""
        if not any(mark in text for mark in _MARKS):
            yield OpenedInput(text)
            return
        value = json.decode(text)
        placeholders: dict[str, None] = {}
        map_strings(value, lambda text: _collect(placeholders, text))
        folder = Path(scratch.create_inputs_folder()) if placeholders else None
        try:
            files = await self._download_all(list(placeholders), folder) if folder is not None else {}
            yield OpenedInput(json.encode(self._open_secrets(value, id)), files)
        finally:
            if folder is not None:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _open_secrets(self, value: Any, id: str) -> Any:
        return map_strings(value, lambda text: self._secrets.open(text, id) if text.startswith(SEALED_PREFIX) else text)

    async def _download_all(self, placeholders: list[str], folder: Path) -> dict[str, str]:
        """Download some files at a time, each into a folder of its own, as their names may be equal."""
        limit = asyncio.Semaphore(MAX_CONCURRENT_DOWNLOADS)

        async def download(number: int, placeholder: str) -> str:
            key = placeholder.removeprefix(FILE_PREFIX)
            if not _KEYS.fullmatch(key) or ".." in key.split("/"):
                raise BadInput(f"an input refers to a file that it may not use: {key[:200]!r}")
            path = folder / str(number) / keys.safe_name(key.rpartition("/")[2])
            path.parent.mkdir()
            async with limit, asyncio.timeout(self._timeout):
                await self._store.download(key, path, self._limit)
            return str(path)

        try:
            async with asyncio.TaskGroup() as tasks:
                downloads = [tasks.create_task(download(number, text)) for number, text in enumerate(placeholders)]
        except* (BadInput, FileStoreError) as group:
            raise _first_error(group) from None
        except* TimeoutError:
            raise FileStoreError(f"downloading an input file took longer than {self._timeout:g} s") from None
        return {text: task.result() for text, task in zip(placeholders, downloads, strict=True)}


def _collect(placeholders: dict[str, None], text: str) -> str:
    if text.startswith(FILE_PREFIX):
        placeholders[text] = None
    return text


def _first_error(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first_error(error) if isinstance(error, BaseExceptionGroup) else error  # pyright: ignore[reportUnknownArgumentType]
