"""What this agent can run: each model's folder, read and asked what it takes and gives."""

import asyncio
import hashlib
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, Raw, Struct, json

from runners import folders
from runners.errors import NotOffered
from runners.folders import Folder
from runners.instance import HOST, Program, environment, kill_group
from runners.settings import Settings
from schemas.models import Offer

log = structlog.stdlib.get_logger()

BUNDLED: Final = Path(__file__).parent / "models"
ANSWER_WITHIN: Final = 120  # seconds; an import of torch from a cold disk may take most of that
AT_ONCE: Final = 2


class Model(Struct, frozen=True, kw_only=True):
    """A version that can be loaded here."""

    offer: Offer
    program: Program

    @property
    def name(self) -> str:
        return f"{self.offer.owner}/{self.offer.name}"


class Fault(Struct, frozen=True):
    stage: str = ""
    message: str = ""
    file: str | None = None
    line: int | None = None


class Told(Struct, frozen=True):
    """A worker's answer to `introspect`."""

    schema: Raw = Raw(b"")
    cog_version: str = ""
    error: Fault | None = None


async def offered(settings: Settings) -> dict[str, Model]:
    """By version. A folder that cannot be offered is told of and left out."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(path: Path) -> Model | None:
        async with limit:
            try:
                return await _model(path, settings)
            except NotOffered as error:
                log.error("a model is left out", folder=str(path), reason=str(error))
                return None

    found = await asyncio.gather(*map(one, _folders(settings)))
    models: dict[str, Model] = {}
    names: set[str] = set()
    for model in found:
        if model is None:
            continue
        if model.name in names:
            log.warning("a second folder of this name is left out", model=model.name, folder=str(model.program.folder))
            continue
        names.add(model.name)
        models[model.offer.version] = model
    return models


def _folders(settings: Settings) -> Iterator[Path]:
    """Given ones first: they win over bundled ones of the same name."""
    given = [Path(name) for name in settings.models] + ([BUNDLED] if settings.bundled else [])
    seen: set[Path] = set()
    for path in given:
        for folder in _inside(path):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder.resolve()


def _inside(path: Path) -> Iterable[Path]:
    """A path that is no folder is passed on: reading it says what is wrong."""
    if _is_cog(path) or not path.is_dir():
        return [path]
    return sorted(child for child in path.iterdir() if child.is_dir() and _is_cog(child))


def _is_cog(path: Path) -> bool:
    return (path / "cog.yaml").is_file() or (path / "predict.py").is_file()


async def _model(path: Path, settings: Settings) -> Model:
    try:
        folder = await asyncio.to_thread(folders.read, path)
    except (folders.BadFolder, OSError) as error:
        raise NotOffered(str(error)) from error
    program = Program(
        folder=folder.path,
        ref=folder.ref,
        environment=environment(os.environ, settings.cache_dir, folder.environment),
    )
    told = await _introspected(folder, program, Path(settings.cache_dir))
    offer = Offer(
        owner=folder.owner,
        name=folder.name,
        version=folder.version,
        openapi_schema=told.schema,
        cog_version=told.cog_version,
        description=folder.description,
        readme=folder.readme,
        pool=settings.pool,
    )
    return Model(offer=offer, program=program)


async def _introspected(folder: Folder, program: Program, cache_dir: Path) -> Told:
    """From the cache, as long as neither the folder nor the code that reads it has changed."""
    cached = cache_dir / "introspected" / f"{folder.version}-{_reader()}.json"
    try:
        return _understood(cached.read_bytes())
    except (OSError, NotOffered):
        text = await _asked(program)
    told = _understood(text)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(f".{os.getpid()}")
        new.write_bytes(text)
        new.replace(cached)
    except OSError as error:
        log.warning("cannot write to the cache", file=str(cached), reason=str(error))
    return told


async def _asked(program: Program) -> bytes:
    read, write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            program.python,
            program.host,
            "introspect",
            str(program.folder),
            "--fd",
            str(write),
            "--ref",
            program.ref,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(program.environment),
            pass_fds=(write,),
            start_new_session=True,
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    answer = asyncio.create_task(asyncio.to_thread(_all_of, read))
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            printed, _ = await process.communicate()
    except TimeoutError:
        raise NotOffered(f"importing {program.ref} took longer than {ANSWER_WITHIN} s") from None
    finally:
        # With all that it started, which may hold the pipe open.
        kill_group(process.pid)
        await process.wait()
        text = await answer
    if not text:
        raise NotOffered(f"importing {program.ref} ended the process: {printed.decode(errors='replace')[-2000:]}")
    return text


def _all_of(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read()


def _understood(text: bytes) -> Told:
    try:
        told = json.decode(text, type=Told)
    except DecodeError as error:
        raise NotOffered(f"introspection gave an answer that cannot be read: {error}") from error
    if told.error is not None:
        place = f"{told.error.file}:{told.error.line}: " if told.error.file else ""
        raise NotOffered(f"{place}{told.error.message}")
    return told


def _reader() -> str:
    """Changes with the code that introspects."""
    digest = hashlib.sha256()
    for file in sorted(HOST.parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
