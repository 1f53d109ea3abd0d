"""The four children of `samovar up`: how each is started, and how one sees that it works."""

import sys
import sysconfig
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from os import pathsep
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

import gateway.settings
import runners.settings
from deploy.local.address import base_url
from deploy.local.keys import Keys
from deploy.local.nats import GATEWAY, RUNNER, Nats, speaks
from deploy.local.places import log_of
from deploy.local.postgres import Postgres, answers, clear
from deploy.local.process import Command
from deploy.local.supervisor import Part

PREFIX: Final = "SAMOVAR_"


class Setup(Struct, frozen=True, kw_only=True):
    """What gateway and runner are told."""

    data: Path
    environ: Mapping[str, str]
    host: str
    port: int
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


def http(setup: Setup) -> Part:
    told = {
        "DATABASE_URL": setup.database_url,
        "NATS_URL": setup.nats_urls[GATEWAY.name],
        "TOKEN": setup.token,
        "HOST": setup.host,
        "PORT": str(setup.port),
        "SECRETS_PUBLIC_KEY": setup.keys.secrets_public_key,
        "FILES_TOKEN": setup.keys.files_token,
    }
    return Part(
        command=_command("gateway", setup, gateway.settings.NAMES, told),
        healthy=_says_ok(base_url(setup.host, setup.port) + "/healthz"),
    )


def runner(setup: Setup) -> Part:
    told = {"NATS_URL": setup.nats_urls[RUNNER.name], "SECRETS_KEY": setup.keys.secrets_key}
    if setup.models:
        told["MODELS"] = pathsep.join(str(folder.expanduser().absolute()) for folder in setup.models)
    return Part(
        command=_command("runner", setup, runners.settings.NAMES, told),
        # Ready is a gateway that hears of a runner.
        healthy=_says_ok(base_url(setup.host, setup.port) + "/readyz"),
    )


def _command(name: str, setup: Setup, names: frozenset[str], told: dict[str, str]) -> Command:
    """One of our own processes. It gets its own settings and nobody else's, by environment: others see arguments."""
    files = {"FILES_URL": setup.environ.get(PREFIX + "FILES_URL", (setup.data / "files").as_uri())}
    inherited = {key: value for key, value in setup.environ.items() if not key.startswith(PREFIX) or key in names}
    ours = {PREFIX + key: value for key, value in (files | told).items()}
    script = Path(sysconfig.get_path("scripts"), "samovar")
    return Command(
        name=name,
        argv=(sys.executable, str(script), name),
        log=log_of(setup.data, name),
        env=inherited | ours | {"PYTHONUNBUFFERED": "1"},
    )


def _says_ok(url: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        try:
            # It is plain HTTP; to read all the authorities would take a third of a core while the others start.
            async with httpx.AsyncClient(trust_env=False, verify=False, timeout=5) as client:  # noqa: S501
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    return asked
