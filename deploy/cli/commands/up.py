"""The command `samovar up`."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from deploy.cli.commands.options import DataDir
from deploy.errors import UsageError
from deploy.local.data_dir import default_data_dir


def up(
    *,
    port: Annotated[int, Parameter(env_var="SAMOVAR_PORT")] = 8000,
    host: Annotated[str, Parameter(env_var="SAMOVAR_HOST")] = "127.0.0.1",
    data_dir: DataDir = None,
    token: Annotated[str | None, Parameter(env_var="SAMOVAR_TOKEN")] = None,
    models: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())] = (),
    nats: Annotated[str | None, Parameter(env_var="SAMOVAR_NATS_LISTEN")] = None,
    gateways: Annotated[int, Parameter(env_var="SAMOVAR_GATEWAYS", validator=validators.Number(gte=1, lte=8))] = 1,
    verbose: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Run all of Samovar on this machine: NATS, PostgreSQL, a gateway and a runner, in the foreground.

    Parameters
    ----------
    port
        The port that the gateway listens on.
    host
        The address that the gateway listens on; 0.0.0.0 for all.
    token
        The token that clients must send. By default, Samovar makes one and keeps it.
    models
        Cog folders, or folders of Cog folders, to serve beside the bundled models. SAMOVAR_MODELS separates them by
        colons.
    nats
        The host:port that NATS listens on for runners on other hosts. By default, NATS accepts local connections only.
    gateways
        The number of gateways that share the port (Linux). One answers some thousands of predictions per second.
    verbose
        Show all log lines, not only warnings and errors.
    """
    # Imported here, as completion loads the modules of all commands.
    import asyncio

    from deploy.local.up import UpOptions, run_stack
    from deploy.logs import configure_logging
    from deploy.settings import check_names

    check_names(os.environ)
    configure_logging(verbose=verbose)
    from_environment = os.environ.get("SAMOVAR_MODELS", "").split(os.pathsep)
    options = UpOptions(
        data_dir=data_dir or default_data_dir(),
        host=host,
        port=port,
        token=token,
        models=_check_folders(models or tuple(Path(name) for name in from_environment if name)),
        nats=nats,
        gateways=gateways,
        verbose=verbose,
    )
    asyncio.run(run_stack(options, os.environ, _announce))  # not uvloop: it starts nothing as another user


def _announce(url: str, token: str) -> None:
    print(f"Samovar is ready at {url} with the token {token}; try this:")
    print(
        f"  curl -s {url}/v1/models/samovar/hello-world/predictions -H 'Authorization: Bearer {token}' "
        """-H 'Content-Type: application/json' -H 'Prefer: wait' -d '{"input": {"text": "world"}}'""",
    )
    print(f"Open {url} in a browser to choose a model; the token signs you in.", flush=True)


def _check_folders(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--models {folder}: there is no such folder")
        if not (folder / "cog.yaml").exists() and not any(folder.glob("*/cog.yaml")):
            raise UsageError(f"--models {folder}: neither this folder nor a folder in it has a cog.yaml")
    return folders
