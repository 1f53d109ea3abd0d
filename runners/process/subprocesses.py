"""Commands of other programs, each run in its own process group and ended with its caller."""

import asyncio
import codecs
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class CommandFailed(Exception):
    """A command could not be started, or ended with a status other than 0; the message says which."""


async def run_command(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], on_output: Callable[[str], None]
) -> None:
    """Run a command to its end and pass on its output as it comes. Raises `CommandFailed`.

    When canceled, it leaves nothing of the command's process group behind.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=cwd, env=dict(environment), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        await _read_output(process, on_output)
        code = await process.wait()
    finally:
        kill_process_group(process.pid)
        await process.wait()
    if code:
        raise CommandFailed(f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}")


def kill_process_group(pid: int) -> None:
    """Kill a process and all the processes in its group, if there are any."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _read_output(process: Process, on_output: Callable[[str], None]) -> None:
    """Read until the process has ended: its children may hold its pipe open."""
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ended = asyncio.ensure_future(process.wait())
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            reading = asyncio.ensure_future(process.stdout.read(65536))
            await asyncio.wait([reading, ended], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # Its last output may still be in the pipe.
                await asyncio.wait([reading], timeout=0.2)
            if not reading.done() or not (piece := reading.result()):
                return
            on_output(decoder.decode(piece))
    finally:
        ended.cancel()
        if reading is not None:
            reading.cancel()
