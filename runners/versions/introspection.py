"""Introspection: a model's inputs and outputs, as a process that imports its predictor describes them."""

import asyncio
import hashlib
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, Raw, Struct, json, structs

from runners.errors import UnusableModel, location_prefix
from runners.placement import memory_profiles
from runners.placement.memory_profiles import Hints
from runners.process.program import HOST_SCRIPT, Program, download_limits, worker_environment
from runners.process.subprocesses import kill_process_group
from runners.settings import Settings
from runners.versions.environments import Environment
from runners.versions.labels import parse_labels
from runners.versions.model_folder import ModelFolder
from schemas.models import VersionInfo

log = structlog.stdlib.get_logger()

INTROSPECTION_SECONDS: Final = 120  # an import of torch from a cold disk may take most of that


class Model(Struct, frozen=True, kw_only=True):
    """A version that can be loaded on this host."""

    info: VersionInfo
    """What gateways know of it."""
    program: Program
    hints: Hints = Hints()
    trainer: Program | None = None
    """The program that trains it, if it has one."""

    @property
    def name(self) -> str:
        """The name of its model, as owner/name."""
        return f"{self.info.owner}/{self.info.name}"

    @property
    def version(self) -> str:
        """The id of the version, of 64 hex digits."""
        return self.info.version


class IntrospectionFault(Struct, frozen=True):
    """The reason why a predictor could not be described."""

    stage: str = "import"
    message: str = ""
    file: str | None = None
    line: int | None = None
    trace: str = ""


class Introspection(Struct, frozen=True):
    """A worker's answer to `introspect`."""

    schema: Raw = Raw(b"")
    cog_version: str = ""
    error: IntrospectionFault | None = None


async def introspect_model(
    folder: ModelFolder, environment: Environment, settings: Settings, on_output: Callable[[str], None] = lambda _: None
) -> Model:
    """Return the model of a folder, ready to be loaded. Raises `UnusableModel`."""
    hints, model_labels = memory_profiles.parse_hints(folder.environment), parse_labels(folder.environment)
    program = build_program(folder, environment, settings)
    result = await introspect(folder, program, Path(settings.cache_dir), on_output)
    info = VersionInfo(
        owner=folder.owner,
        name=folder.name,
        version=folder.version,
        openapi_schema=result.schema,
        cog_version=result.cog_version,
        description=folder.description,
        readme=folder.readme,
        labels=model_labels,
        pool=settings.pool,
    )
    trainer = structs.replace(program, ref=folder.train, train=True) if folder.train else None
    return Model(info=info, program=program, hints=hints, trainer=trainer)


def build_program(folder: ModelFolder, environment: Environment, settings: Settings) -> Program:
    """Return the program that a worker of this folder runs, with its environment variables."""
    declared = folder.environment
    if folder.concurrency is not None:
        declared = {"COG_MAX_CONCURRENCY": str(folder.concurrency)} | declared
    limits = download_limits(settings.input_bytes, settings.input_timeout, private=settings.private_inputs)
    variables = worker_environment(os.environ, settings.cache_dir, declared, limits)
    if environment.digest is not None:
        bin_folder = environment.python.parent
        # Commands that it runs by name come from its environment, too.
        path = f"{bin_folder}{os.pathsep}{variables.get('PATH', os.defpath)}"
        variables |= {"PATH": path, "VIRTUAL_ENV": str(bin_folder.parent)}
    return Program(folder=folder.path, ref=folder.ref, environment=variables, python=str(environment.python))


async def introspect(
    folder: ModelFolder, program: Program, cache_dir: Path, on_output: Callable[[str], None] = lambda _: None
) -> Introspection:
    """Describe a folder's predictor; `on_output` gets what its import prints. Raises `UnusableModel`.

    The answer comes from the cache as long as the folder, its environment and the code that reads it are the same.
    """
    cached = cache_dir / "introspected" / f"{_cache_key(folder, program)}.json"
    try:
        return _parse_answer(cached.read_bytes())
    except (OSError, UnusableModel):
        text = await _run_introspection(program, folder.train, on_output)
    answer = _parse_answer(text)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        new = cached.with_suffix(f".{os.getpid()}")
        new.write_bytes(text)
        new.replace(cached)
    except OSError as error:
        log.warning("cannot write an introspection to the cache", file=str(cached), reason=str(error))
    return answer


async def _run_introspection(program: Program, train: str | None, on_output: Callable[[str], None]) -> bytes:
    read_fd, write_fd = os.pipe()
    arguments = ["introspect", str(program.folder), "--fd", str(write_fd), "--ref", program.ref]
    try:
        process = await asyncio.create_subprocess_exec(
            program.python,
            program.host,
            *arguments,
            *(["--train", train] if train else []),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(program.environment),
            pass_fds=(write_fd,),
            start_new_session=True,
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    answer = asyncio.create_task(asyncio.to_thread(_read_all, read_fd))
    printed = b""
    try:
        async with asyncio.timeout(INTROSPECTION_SECONDS):
            printed, _ = await process.communicate()
    except TimeoutError:
        reason = f"importing {program.ref} took longer than {INTROSPECTION_SECONDS:g} s"
        raise UnusableModel(reason, stage="import", file=_file_of(program.ref)) from None
    finally:
        # With all that it started, which may hold the pipe open.
        kill_process_group(process.pid)
        await process.wait()
        text = await answer
    output = printed.decode(errors="replace").replace("\0", "\ufffd")
    on_output(output)
    if not text:
        reason = f"importing {program.ref} ended the process with exit code {process.returncode}"
        raise UnusableModel(f"{reason}: {output[-2000:]}", stage="import", file=_file_of(program.ref), log=output)
    return text


def _file_of(ref: str) -> str:
    return ref.partition(":")[0]


def _read_all(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read()


def _parse_answer(text: bytes) -> Introspection:
    try:
        answer = json.decode(text, type=Introspection)
    except DecodeError as error:
        raise UnusableModel(f"the answer of introspection cannot be read: {error}", stage="import") from error
    if (fault := answer.error) is not None:
        message = f"{location_prefix(fault.file, fault.line)}{fault.message}"
        raise UnusableModel(message, stage=fault.stage, file=fault.file, line=fault.line, log=fault.trace)
    return answer


def _cache_key(folder: ModelFolder, program: Program) -> str:
    """Return a key that changes with all that the answer depends on."""
    inputs = [program.python, folder.ref, folder.train or "", *sorted(map(str, folder.environment.items()))]
    digest = hashlib.sha256("\0".join(inputs).encode())
    for file in sorted(HOST_SCRIPT.parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return f"{folder.version}-{digest.hexdigest()[:16]}"
