"""The command `samovar`."""

import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from deploy.cli.commands.accounts import account, accounts, tokens
from deploy.cli.commands.collections import collections
from deploy.cli.commands.completion import Shell, complete
from deploy.cli.commands.deployments import deployments, hardware
from deploy.cli.commands.files import files
from deploy.cli.commands.models import search
from deploy.cli.commands.options import LOCAL, DataDir, Inputs, Json, Token, Url
from deploy.cli.commands.predictions import models, predictions
from deploy.cli.commands.trainings import train, trainings
from deploy.cli.commands.webhooks import webhooks
from deploy.errors import DeployError, Unusable
from deploy.local.data_dir import default_data_dir

app = App(
    name="samovar",
    help="A self-hosted inference gateway that speaks Replicate's HTTP API.",
    version_flags=["--version"],
    version=lambda: _version(),
)
app.command(predictions)
app.command(models)
app.command(tokens)
app.command(accounts)
app.command(account)
app.command(train)
app.command(trainings)
app.command(collections)
app.command(search)
app.command(webhooks)
app.command(files)
app.command(deployments)
app.command(hardware)
app.command("benchmarks.cli:bench", name="bench", help="Measure a server: Samovar, or another one.")


def main() -> None:
    try:
        app()
    except DeployError as error:
        sys.exit(_told(error))
    except BrokenPipeError:
        # Whoever read us has had enough: `samovar predictions list | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command
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
        Where the gateway listens.
    host
        The address that it listens on; 0.0.0.0 for all.
    data_dir
        Where everything is kept.
    token
        What clients have to show; one is made if there is none.
    models
        Cog folders, or folders of them, beside the bundled models. SAMOVAR_MODELS separates them by colons.
    nats
        host:port at which NATS listens, for runners on other hosts; else it is to be reached from this one only.
    gateways
        How many gateways share the port (Linux): one answers some thousands of predictions per second.
    verbose
        Show all that is logged.
    """
    import asyncio

    from deploy import logs
    from deploy.local.up import Options, Ready
    from deploy.local.up import up as run_up
    from deploy.settings import check_names

    check_names(os.environ)
    logs.configure(verbose=verbose)
    named = os.environ.get("SAMOVAR_MODELS", "").split(os.pathsep)
    options = Options(
        data_dir=data_dir or default_data_dir(),
        host=host,
        port=port,
        token=token,
        models=_folders(models or tuple(Path(name) for name in named if name)),
        nats=nats,
        gateways=gateways,
        verbose=verbose,
    )

    def announce(ready: Ready) -> None:
        print(f"Samovar is ready at {ready.url} with the token {ready.token}; try this:")
        print(
            f"  curl -s {ready.url}/v1/models/samovar/hello-world/predictions -H 'Authorization: Bearer {ready.token}' "
            """-H 'Content-Type: application/json' -H 'Prefer: wait' -d '{"input": {"text": "world"}}'""",
        )
        print(f"Open {ready.url} in a browser to choose a model there; the token signs you in.", flush=True)

    asyncio.run(run_up(options, os.environ, announce))  # not uvloop: it starts nothing as another user


@app.command
def gateway() -> None:
    """Run a gateway alone. It is told by SAMOVAR_DATABASE_URL, SAMOVAR_NATS_URL and others where everything is."""
    from deploy import logs
    from deploy.migrate import migrate
    from deploy.settings import read
    from gateway.http.sockets import Unbound, bound
    from gateway.main import serve
    from gateway.settings import from_env

    settings = read(from_env, os.environ)
    logs.configure()
    try:
        sockets = bound(settings)
    except Unbound as error:
        raise Unusable(str(error)) from None

    async def migrated() -> None:
        await migrate(settings.database_url)
        await serve(settings, sockets)

    _run(migrated())


@app.command
def runner() -> None:
    """Run a runner alone. It is told by SAMOVAR_NATS_URL and others where everything is."""
    from deploy import logs
    from deploy.settings import read
    from runners.main import serve
    from runners.settings import from_env

    settings = read(from_env, os.environ)
    logs.configure()
    _run(serve(settings))


@app.command
def runners(
    *,
    watch: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The hosts that run models: their memory and devices, what is hot on them, what waits.

    In a pipe a line for each instance: host, model, version, state, devices, bytes, running, queued, idle seconds.

    Parameters
    ----------
    watch
        Go on: show it again whenever it changes.
    json
        Print it as JSON; with --watch a line each time.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.runners import show_runners, watch_runners

    with reached(url, token) as api:
        (watch_runners if watch else show_runners)(api, as_json=json)


@app.command
def run(
    model: str,
    *,
    input: Inputs = (),
    output_dir: Path = Path(),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> int:
    """Run a model, and print what it says as it comes. Ctrl-C cancels the prediction.

    Parameters
    ----------
    model
        owner/name, or owner/name:version.
    input
        name=value, or name=@file; given again for each input.
    output_dir
        Where files that the model makes are saved.
    json
        Print the prediction at its end, as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.run import run as run_model

    with reached(url, token) as api:
        return run_model(api, model, list(input), output_dir=output_dir, as_json=json)


@app.command
def push(
    folder: Path,
    model: str,
    *,
    watch: Annotated[bool, Parameter(negative=())] = False,
    max_batch_size: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    max_batch_wait_ms: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    input: Inputs = (),
    output_dir: Path = Path(),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> int:
    """Make a version of a model from a Cog folder, and show its build as it goes. Ctrl-C cancels it.

    Parameters
    ----------
    folder
        It holds cog.yaml and the predictor. What its .dockerignore names stays here.
    model
        owner/name.
    watch
        Go on: push again whenever a file changes.
    max_batch_size
        Predictions in one call, at most, whatever the predictor says.
    max_batch_wait_ms
        How long a prediction waits for company, whatever the predictor says.
    input
        name=value, or name=@file: with --watch, what to run each good version with.
    output_dir
        Where files that the model makes are saved.
    json
        Print the push at its end, as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.push import push, wishes

    if input and not watch:
        raise Unusable("-i goes with --watch; run what has been pushed with `samovar run`")
    wanted = wishes(max_batch_size, max_batch_wait_ms)
    with reached(url, token) as api:
        if watch:
            from deploy.cli.watching import push_and_watch

            return push_and_watch(api, folder, model, wanted, list(input), output_dir=output_dir, as_json=json)
        return push(api, folder, model, wanted, as_json=json)


@app.command
def predict(
    folder: Path,
    *,
    input: Inputs = (),
    output_dir: Path = Path(),
    json: Json = False,
) -> int:
    """Run a Cog folder once, here, with no server. Ctrl-C stops it.

    Parameters
    ----------
    folder
        It holds cog.yaml and the predictor.
    input
        name=value, or name=@file; given again for each input.
    output_dir
        Where files that the model makes are saved.
    json
        Print how it ended, as JSON.
    """
    from deploy.cli.commands.predict import predict

    return predict(folder, list(input), output_dir=output_dir, as_json=json, environ=os.environ)


@app.command
def gc(
    *,
    delete: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """What is kept in the file store and used by nothing any more, and how much that is.

    Parameters
    ----------
    delete
        Remove it.
    json
        Print it as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.delete import collect

    with reached(url, token) as api:
        collect(api, delete=delete, as_json=json)


@app.command
def completion(shell: Shell | None = None, /) -> None:
    """Print a script by which your shell completes commands and options: eval "$(samovar completion bash)".

    Parameters
    ----------
    shell
        The one that you use, if it is not the one that SHELL names.
    """
    complete(app, shell)


@app.command
def token(
    *,
    runner: Annotated[bool, Parameter(negative=())] = False,
    data_dir: DataDir = None,
    url: Url = LOCAL,
) -> None:
    """Print the token that `samovar up` made, or what a runner on another host has to be told.

    Parameters
    ----------
    runner
        Print the settings of such a runner, secrets included, a line each.
    url
        How the other host reaches the gateway.
    """
    folder = (data_dir or default_data_dir()).expanduser()
    if runner:
        from deploy.local.join_token import settings

        for name, value in settings(folder, url, os.environ):
            print(f"{name}={value}")
        return
    try:
        print((folder / "token").read_text().strip())
    except OSError as error:
        raise Unusable(
            f"{folder / 'token'}: {error.strerror}; `samovar up` makes it. Another place is given with --data-dir"
        ) from None


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Under uvloop, which is quick, with a collector that rarely looks, and an allocator that keeps what is freed.

    What lives for long was made at the start; what comes after it mostly dies by reference counts.
    """
    import asyncio
    import gc

    import uvloop

    from runners.worker.devices import allocator

    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    allocator.keep_large()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _folders(given: tuple[Path, ...]) -> tuple[Path, ...]:
    for folder in given:
        if not folder.is_dir():
            raise Unusable(f"--models {folder}: there is no such folder")
        if not (folder / "cog.yaml").exists() and not any(folder.glob("*/cog.yaml")):
            raise Unusable(f"--models {folder}: neither it nor a folder in it has a cog.yaml")
    return given


def _told(error: DeployError) -> int:
    print(f"samovar: {error}", file=sys.stderr)
    return 1


def _version() -> str:
    from importlib.metadata import version

    return version("samovar")


if __name__ == "__main__":
    main()
