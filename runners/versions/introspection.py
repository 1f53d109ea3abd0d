"""What this agent can run: each model's folder, read and asked what it takes and gives."""

import asyncio
import hashlib
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, Raw, Struct, json, structs

from runners.errors import BadFolder, NotOffered, RunnerError, place
from runners.placement import memory_profiles
from runners.placement.memory_profiles import Hints
from runners.process import worker_process
from runners.process.worker_process import HOST, Program, kill_group
from runners.settings import Settings
from runners.versions import labels
from runners.versions.environments import Environment
from runners.versions.model_folder import Folder, read
from schemas.models import Offer

log = structlog.stdlib.get_logger()

BUNDLED: Final = Path(__file__).parents[1] / "models"
ANSWER_WITHIN: Final = 120  # seconds; an import of torch from a cold disk may take most of that
AT_ONCE: Final = 2


class Model(Struct, frozen=True, kw_only=True):
    """A version that can be loaded here."""

    offer: Offer
    program: Program
    hints: Hints = Hints()
    trainer: Program | None = None
    """What trains it, if something does."""

    @property
    def name(self) -> str:
        return f"{self.offer.owner}/{self.offer.name}"


class Fault(Struct, frozen=True):
    stage: str = "import"
    message: str = ""
    file: str | None = None
    line: int | None = None
    trace: str = ""


class Told(Struct, frozen=True):
    """A worker's answer to `introspect`."""

    schema: Raw = Raw(b"")
    cog_version: str = ""
    error: Fault | None = None


async def found(settings: Settings) -> list[Folder]:
    """The folders to offer, one of a name. One that cannot be read is told of and left out."""
    folders: list[Folder] = []
    names: set[str] = set()
    for path in _folders(settings):
        try:
            folder = await asyncio.to_thread(read, path)
        except (BadFolder, OSError) as error:
            left_out(path, NotOffered(str(error)))
            continue
        if folder.name in names:
            log.warning("a second folder of this name is left out", model=folder.name, folder=str(path))
            continue
        names.add(folder.name)
        folders.append(folder)
    return folders


async def offered(folders: Iterable[Folder], environment: Environment, settings: Settings) -> list[Model]:
    """Those of them that can be offered in this environment, some asked at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(folder: Folder) -> Model | None:
        async with limit:
            try:
                return await model_of(folder, environment, settings)
            except NotOffered as error:
                left_out(folder.path, error)
                return None

    models = await asyncio.gather(*map(one, folders))
    return [model for model in models if model is not None]


def left_out(path: Path, error: RunnerError) -> None:
    log.error("a model is left out", folder=str(path), reason=str(error))


async def model_of(
    folder: Folder, environment: Environment, settings: Settings, say: Callable[[str], None] = lambda _: None
) -> Model:
    """A folder that is ready to be loaded. Raises `NotOffered`."""
    hints, said = memory_profiles.hints(folder.environment), labels.read(folder.environment)
    program = program_of(folder, environment, settings)
    told = await introspected(folder, program, Path(settings.cache_dir), say)
    offer = Offer(
        owner=folder.owner,
        name=folder.name,
        version=folder.version,
        openapi_schema=told.schema,
        cog_version=told.cog_version,
        description=folder.description,
        readme=folder.readme,
        labels=said,
        pool=settings.pool,
    )
    trainer = structs.replace(program, ref=folder.train, train=True) if folder.train else None
    return Model(offer=offer, program=program, hints=hints, trainer=trainer)


def program_of(folder: Folder, environment: Environment, settings: Settings) -> Program:
    own = folder.environment
    if folder.concurrency is not None:
        own = {"COG_MAX_CONCURRENCY": str(folder.concurrency)} | own
    limits = worker_process.limits(settings.input_bytes, settings.input_timeout, private=settings.private_inputs)
    variables = worker_process.environment(os.environ, settings.cache_dir, own, limits)
    if environment.digest is not None:
        home = environment.python.parent
        # What it starts by name comes from its environment, too.
        path = f"{home}{os.pathsep}{variables.get('PATH', os.defpath)}"
        variables |= {"PATH": path, "VIRTUAL_ENV": str(home.parent)}
    return Program(folder=folder.path, ref=folder.ref, environment=variables, python=str(environment.python))


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


async def introspected(
    folder: Folder, program: Program, cache_dir: Path, say: Callable[[str], None] = lambda _: None
) -> Told:
    """What a folder's predictor takes and gives; `say` hears what its import prints. Raises `NotOffered`.

    From the cache, as long as nothing has changed: the folder, its environment, and the code that reads it.
    """
    cached = cache_dir / "introspected" / f"{_key(folder, program)}.json"
    try:
        return _understood(cached.read_bytes())
    except (OSError, NotOffered):
        text = await _asked(program, folder.train, say)
    told = _understood(text)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(f".{os.getpid()}")
        new.write_bytes(text)
        new.replace(cached)
    except OSError as error:
        log.warning("cannot write to the cache", file=str(cached), reason=str(error))
    return told


async def _asked(program: Program, train: str | None, say: Callable[[str], None]) -> bytes:
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
            *(["--train", train] if train else []),
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
    printed = b""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            printed, _ = await process.communicate()
    except TimeoutError:
        raise NotOffered(
            f"importing {program.ref} took longer than {ANSWER_WITHIN:g} s", stage="import", file=_file(program.ref)
        ) from None
    finally:
        # With all that it started, which may hold the pipe open.
        kill_group(process.pid)
        await process.wait()
        text = await answer
    words = printed.decode(errors="replace").replace("\0", "\ufffd")
    say(words)
    if not text:
        reason = f"importing {program.ref} ended the process with exit code {process.returncode}"
        raise NotOffered(f"{reason}: {words[-2000:]}", stage="import", file=_file(program.ref), log=words)
    return text


def _file(ref: str) -> str:
    return ref.partition(":")[0]


def _all_of(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read()


def _understood(text: bytes) -> Told:
    try:
        told = json.decode(text, type=Told)
    except DecodeError as error:
        raise NotOffered(f"introspection gave an answer that cannot be read: {error}", stage="import") from error
    if (fault := told.error) is not None:
        where = place(fault.file, fault.line)
        raise NotOffered(
            f"{where}{fault.message}", stage=fault.stage, file=fault.file, line=fault.line, log=fault.trace
        )
    return told


def _key(folder: Folder, program: Program) -> str:
    """Changes with all that the answer depends on."""
    words = [program.python, folder.ref, folder.train or "", *sorted(map(str, folder.environment.items()))]
    rest = hashlib.sha256("\0".join(words).encode())
    for file in sorted(HOST.parent.rglob("*.py")):
        rest.update(file.read_bytes())
    return f"{folder.version}-{rest.hexdigest()[:16]}"
