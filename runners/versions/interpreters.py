"""Python interpreters on this host of other versions than ours."""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

from runners.process.subprocesses import kill_process_group

OWN_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
MIN_VERSION: Final = (3, 11)
"""The oldest version that the worker's own code runs on."""
_MAX_MINOR: Final = 20
_PROBE_SECONDS: Final = 10.0
_PROBE_CODE: Final = "import sys; print('%d.%d|%s' % (*sys.version_info[:2], sys.executable))"


async def find(version: str) -> Path | None:
    """Return the interpreter of a version such as 3.12, from PATH or from uv's own."""
    on_path = shutil.which(f"python{version}")
    if on_path is not None and (python := await _probe(on_path, version)):
        return python
    uv = shutil.which("uv")
    if uv is not None:
        output = await _run(uv, "python", "find", "--no-python-downloads", "--no-project", version)
        if output.strip():
            return await _probe(output.strip(), version)
    return None


async def list_versions() -> list[str]:
    """Return the versions that `find` finds."""
    versions = [f"3.{minor}" for minor in range(MIN_VERSION[1], _MAX_MINOR)]
    others = [version for version in versions if version != OWN_VERSION]
    paths = await asyncio.gather(*map(find, others))
    available = [version for version, path in zip(others, paths, strict=True) if path]
    return sorted([OWN_VERSION, *available], key=lambda version: int(version.partition(".")[2]))


async def _probe(python: str, expected: str) -> Path | None:
    """Run an interpreter to check its version: a name on PATH may be a shim with nothing behind it."""
    version, _, path = (await _run(python, "-c", _PROBE_CODE)).strip().partition("|")
    return Path(path) if version == expected and re.match(r"/", path) else None


async def _run(*command: str) -> str:
    """Return a command's output; empty if it fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        kill_process_group(process.pid)
        await process.wait()
    return out.decode(errors="replace") if process.returncode == 0 else ""
