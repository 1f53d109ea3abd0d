"""Python interpreters of other versions than ours, as far as there are any on this host."""

import asyncio
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

from runners.process.worker_process import kill_group

OURS: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST: Final = (3, 11)
"""What the worker's own code needs."""
_NEWEST: Final = 20
_ANSWER_WITHIN: Final = 10.0
_QUESTION: Final = "import sys; print('%d.%d|%s' % (*sys.version_info[:2], sys.executable))"


async def find(wanted: str) -> Path | None:
    """The one of a version such as 3.12, from PATH or from uv's own."""
    named = shutil.which(f"python{wanted}")
    if named is not None and (found := await _asked(named, wanted)):
        return found
    uv = shutil.which("uv")
    if uv is not None:
        said = await _said(uv, "python", "find", "--no-python-downloads", "--no-project", wanted)
        if said.strip():
            return await _asked(said.strip(), wanted)
    return None


async def there() -> list[str]:
    """The versions that `find` finds."""
    versions = [f"3.{minor}" for minor in range(OLDEST[1], _NEWEST)]
    found = await asyncio.gather(*(find(version) for version in versions if version != OURS))
    others = [version for version, path in zip((v for v in versions if v != OURS), found, strict=True) if path]
    return sorted([OURS, *others], key=lambda version: int(version.partition(".")[2]))


async def _asked(python: str, wanted: str) -> Path | None:
    """A name on PATH may be a shim with nothing behind it."""
    version, _, path = (await _said(python, "-c", _QUESTION)).strip().partition("|")
    return Path(path) if version == wanted and re.match(r"/", path) else None


async def _said(*command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        kill_group(process.pid)
        await process.wait()
    return out.decode(errors="replace") if process.returncode == 0 else ""
