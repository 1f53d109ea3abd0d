"""Other people's programs: run in a process group of their own, heard as they speak, ended when we are."""

import asyncio
import codecs
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runners.process.worker_process import kill_group


class ToolFailed(Exception):
    """It ended with another status than 0; the message says how."""


async def run(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Raises `ToolFailed`. Canceled, it leaves nothing of the program's process group behind."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=cwd, env=dict(environment), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
    except OSError as error:
        raise ToolFailed(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        await _heard(process, say)
        code = await process.wait()
    finally:
        kill_group(process.pid)
        await process.wait()
    if code:
        raise ToolFailed(f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}")


async def _heard(process: Process, say: Callable[[str], None]) -> None:
    """Until it has ended: who it left behind may hold its pipe open."""
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ended = asyncio.ensure_future(process.wait())
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            reading = asyncio.ensure_future(process.stdout.read(65536))
            await asyncio.wait([reading, ended], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # What it said last may still be in the pipe.
                await asyncio.wait([reading], timeout=0.2)
            if not reading.done() or not (piece := reading.result()):
                return
            say(decoder.decode(piece))
    finally:
        ended.cancel()
        if reading is not None:
            reading.cancel()
