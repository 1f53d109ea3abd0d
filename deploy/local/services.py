"""The children of `samovar up`: how each is started, and how one sees that it works."""

import sys
import sysconfig
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from os import fsencode, pathsep
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

import gateway.settings
import runners.settings
from deploy.errors import Unusable
from deploy.local.address import base_url
from deploy.local.data_dir import log_of
from deploy.local.keys import Keys
from deploy.local.nats import GATEWAY, RUNNER, Nats, speaks
from deploy.local.postgres import Postgres, answers, clear
from deploy.local.process import Command
from deploy.local.supervisor import Part

PREFIX: Final = "SAMOVAR_"
LONGEST: Final = 107  # bytes of a Unix socket's path


class Setup(Struct, frozen=True, kw_only=True):
    """What gateway and runner are told."""

    data: Path
    environ: Mapping[str, str]
    host: str
    port: int
    gateways: int
    token: str
    models: tuple[Path, ...]
    database_url: str
    nats_urls: dict[str, str]
    keys: Keys


def database(server: Postgres) -> Part:
    return Part(
        command=server.command,
        healthy=partial(answers, server),
        before=partial(clear, server.data, server.mark),
    )


def broker(server: Nats) -> Part:
    return Part(command=server.command, healthy=partial(speaks, server))


def http(setup: Setup) -> list[Part]:
    """One gateway, or several that share a port."""
    names = gateways(setup.gateways)
    if len(names) == 1:
        return [_gateway(setup, names[0], {}, _says_ok(base_url(setup.host, setup.port) + "/healthz"))]
    if sys.platform != "linux":
        raise Unusable(f"--gateways {len(names)}: only Linux shares connections out among several; leave it at 1")
    sockets = {name: _socket(setup, name) for name in names}
    return [
        _gateway(setup, name, {"REUSE_PORT": "true", "SOCKET": socket}, _says_ok("http://gateway/healthz", socket))
        for name, socket in sockets.items()
    ]


def gateways(count: int) -> list[str]:
    """Their names; the first is called the same however many there are."""
    return ["gateway", *(f"gateway-{number}" for number in range(2, count + 1))]


def runner(setup: Setup) -> Part:
    told = {"NATS_URL": setup.nats_urls[RUNNER.name], "SECRETS_KEY": setup.keys.secrets_key}
    if setup.models:
        told["MODELS"] = pathsep.join(str(folder.expanduser().absolute()) for folder in setup.models)
    return Part(
        command=_command("runner", "runner", setup, runners.settings.NAMES, told),
        healthy=_heard(setup),
    )


def _gateway(setup: Setup, name: str, more: Mapping[str, str], healthy: Callable[[], Awaitable[bool]]) -> Part:
    told = {
        "DATABASE_URL": setup.database_url,
        "NATS_URL": setup.nats_urls[GATEWAY.name],
        "TOKEN": setup.token,
        "HOST": setup.host,
        "PORT": str(setup.port),
        "SECRETS_PUBLIC_KEY": setup.keys.secrets_public_key,
        "FILES_TOKEN": setup.keys.files_token,
        **more,
    }
    return Part(command=_command(name, "gateway", setup, gateway.settings.NAMES, told), healthy=healthy)


def _socket(setup: Setup, name: str) -> str:
    """Where this one of several can be asked."""
    path = str(setup.data / f"{name}.sock")
    if len(fsencode(path)) > LONGEST:
        raise Unusable(f"data directory {setup.data}: several gateways need one with a shorter path, see --data-dir")
    return path


def _heard(setup: Setup) -> Callable[[], Awaitable[bool]]:
    """Whether every gateway hears of a runner."""
    names = gateways(setup.gateways)
    if len(names) == 1:
        return _says_ok(base_url(setup.host, setup.port) + "/readyz")
    each = [_says_ok("http://gateway/readyz", _socket(setup, name)) for name in names]

    async def asked() -> bool:
        return all([await one() for one in each])

    return asked


def _command(name: str, word: str, setup: Setup, names: frozenset[str], told: dict[str, str]) -> Command:
    """One of our own processes. It gets its own settings and nobody else's, by environment: others see arguments."""
    files = {"FILES_URL": setup.environ.get(PREFIX + "FILES_URL", (setup.data / "files").as_uri())}
    inherited = {key: value for key, value in setup.environ.items() if not key.startswith(PREFIX) or key in names}
    ours = {PREFIX + key: value for key, value in (files | told).items()}
    script = Path(sysconfig.get_path("scripts"), "samovar")
    return Command(
        name=name,
        argv=(sys.executable, str(script), word),
        log=log_of(setup.data, name),
        env=inherited | ours | {"PYTHONUNBUFFERED": "1"},
    )


def _says_ok(url: str, socket: str | None = None) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        try:
            # It is plain HTTP; to read all the authorities would take a third of a core while the others start.
            way = httpx.AsyncHTTPTransport(verify=False, uds=socket)
            async with httpx.AsyncClient(transport=way, trust_env=False, timeout=5) as client:
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    return asked
