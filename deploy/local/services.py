"""The services of `samovar up`: how each starts, and when it is healthy."""

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
from deploy.errors import UsageError
from deploy.local.address import base_url
from deploy.local.data_dir import log_path
from deploy.local.keys import Keys
from deploy.local.nats import GATEWAY, RUNNER, NatsServer, is_answering
from deploy.local.postgres import PostgresServer, clear_leftovers, ensure_database
from deploy.local.process import Command
from deploy.local.supervisor import Service

PREFIX: Final = "SAMOVAR_"
MAX_SOCKET_PATH_BYTES: Final = 107


class StackSettings(Struct, frozen=True, kw_only=True):
    """The values that go to the gateways and the runner."""

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


def database_service(server: PostgresServer) -> Service:
    """Return the service that runs PostgreSQL."""
    return Service(
        command=server.command,
        is_healthy=partial(ensure_database, server),
        before_restart=partial(clear_leftovers, server.data, server.cluster_name),
    )


def broker_service(server: NatsServer) -> Service:
    """Return the service that runs NATS."""
    return Service(command=server.command, is_healthy=partial(is_answering, server))


def gateway_services(settings: StackSettings) -> list[Service]:
    """Return one gateway, or several that share a port. Raises `UsageError`."""
    names = gateway_names(settings.gateways)
    if len(names) == 1:
        return [
            _gateway_service(settings, names[0], {}, _answers_ok(base_url(settings.host, settings.port) + "/healthz"))
        ]
    if sys.platform != "linux":
        raise UsageError(f"--gateways {len(names)}: only Linux shares connections among gateways; leave it at 1")
    sockets = {name: _socket_path(settings, name) for name in names}
    return [
        _gateway_service(
            settings, name, {"REUSE_PORT": "true", "SOCKET": socket}, _answers_ok("http://gateway/healthz", socket)
        )
        for name, socket in sockets.items()
    ]


def gateway_names(count: int) -> list[str]:
    """Return the names of the gateways. The first has the same name however many there are."""
    return ["gateway", *(f"gateway-{number}" for number in range(2, count + 1))]


def runner_service(settings: StackSettings) -> Service:
    """Return the runner, which is healthy once every gateway has heard from it."""
    variables = {"NATS_URL": settings.nats_urls[RUNNER.name], "SECRETS_KEY": settings.keys.secrets_key}
    if settings.models:
        variables["MODELS"] = pathsep.join(str(folder.expanduser().absolute()) for folder in settings.models)
    return Service(
        command=_samovar_command("runner", "runner", settings, runners.settings.NAMES, variables),
        is_healthy=_runner_check(settings),
    )


def _gateway_service(
    settings: StackSettings, name: str, extra: Mapping[str, str], is_healthy: Callable[[], Awaitable[bool]]
) -> Service:
    variables = {
        "DATABASE_URL": settings.database_url,
        "NATS_URL": settings.nats_urls[GATEWAY.name],
        "TOKEN": settings.token,
        "HOST": settings.host,
        "PORT": str(settings.port),
        "SECRETS_PUBLIC_KEY": settings.keys.secrets_public_key,
        "FILES_TOKEN": settings.keys.files_token,
        **extra,
    }
    return Service(
        command=_samovar_command(name, "gateway", settings, gateway.settings.ENVIRONMENT_NAMES, variables),
        is_healthy=is_healthy,
    )


def _socket_path(settings: StackSettings, name: str) -> str:
    """Return the path of the socket at which this one of several gateways can be asked."""
    path = str(settings.data / f"{name}.sock")
    if len(fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise UsageError(
            f"data directory {settings.data}: several gateways need a shorter path; choose it with --data-dir"
        )
    return path


def _runner_check(settings: StackSettings) -> Callable[[], Awaitable[bool]]:
    """Return the check that every gateway knows of a runner."""
    names = gateway_names(settings.gateways)
    if len(names) == 1:
        return _answers_ok(base_url(settings.host, settings.port) + "/readyz")
    checks = [_answers_ok("http://gateway/readyz", _socket_path(settings, name)) for name in names]

    async def check_all() -> bool:
        return all([await check() for check in checks])

    return check_all


def _samovar_command(
    name: str, subcommand: str, settings: StackSettings, known_names: frozenset[str], variables: dict[str, str]
) -> Command:
    """Return the command of one of our own processes.

    It gets its own settings only, and through the environment, as other users can see arguments.
    """
    files = {"FILES_URL": settings.environ.get(PREFIX + "FILES_URL", (settings.data / "files").as_uri())}
    inherited = {
        key: value for key, value in settings.environ.items() if not key.startswith(PREFIX) or key in known_names
    }
    own = {PREFIX + key: value for key, value in (files | variables).items()}
    script = Path(sysconfig.get_path("scripts"), "samovar")
    return Command(
        name=name,
        argv=(sys.executable, str(script), subcommand),
        log=log_path(settings.data, name),
        env=inherited | own | {"PYTHONUNBUFFERED": "1"},
    )


def _answers_ok(url: str, socket: str | None = None) -> Callable[[], Awaitable[bool]]:
    """Return the check that a URL answers with status 200, on a Unix socket if one is given."""

    async def check() -> bool:
        try:
            # It is plain HTTP; reading all certificate authorities would take a third of a core while the others start.
            transport = httpx.AsyncHTTPTransport(verify=False, uds=socket)
            async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=5) as client:
                return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    return check
