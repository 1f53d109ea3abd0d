"""The command `samovar`, run as a user types it."""

import os
import subprocess
from typing import Protocol

from benchmarks.stack import SAMOVAR

TIMEOUT = 60


class Server(Protocol):
    """A live stack, or a fake gateway."""

    url: str
    token: str


def environment(server: Server, **variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return inherited | {"SAMOVAR_URL": server.url, "SAMOVAR_TOKEN": server.token} | variables


def samovar(server: Server, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SAMOVAR, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment(server, **variables),
    )


def rows(result: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The cells of a table that was printed into a pipe."""
    assert result.returncode == 0, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()]
