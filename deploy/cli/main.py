"""The command `samovar`."""

import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from deploy.errors import DeployError, Unusable
from deploy.local.places import default_data_dir

app = App(
    name="samovar",
    help="A self-hosted inference gateway that speaks Replicate's HTTP API.",
    version_flags=["--version"],
    version=lambda: _version(),
)
predictions = App(name="predictions", help="Look at predictions, follow them, cancel them.")
models = App(name="models", help="Look at the models that can be run.")
app.command(predictions)
app.command(models)

CONNECTION = Group("Connection", sort_key=9)
DataDir = Annotated[Path | None, Parameter(name="--data-dir", env_var="SAMOVAR_DATA_DIR")]
Url = Annotated[str, Parameter(name="--url", env_var="SAMOVAR_URL", group=CONNECTION)]
Token = Annotated[str | None, Parameter(name="--token", env_var="SAMOVAR_TOKEN", group=CONNECTION, show_env_var=True)]
Json = Annotated[bool, Parameter(name="--json", negative=())]

LOCAL = "http://127.0.0.1:8000"


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
        verbose=verbose,
    )

    def announce(ready: Ready) -> None:
        print(f"Samovar is ready at {ready.url} with the token {ready.token}; try this:")
        print(
            f"  curl -s {ready.url}/v1/models/samovar/hello-world/predictions -H 'Authorization: Bearer {ready.token}' "
            """-H 'Content-Type: application/json' -H 'Prefer: wait' -d '{"input": {"text": "world"}}'""",
            flush=True,
        )

    asyncio.run(run_up(options, os.environ, announce))  # not uvloop: it starts nothing as another user


@app.command
def gateway() -> None:
    """Run a gateway alone. It is told by SAMOVAR_DATABASE_URL, SAMOVAR_NATS_URL and others where everything is."""
    from deploy import logs
    from deploy.migrate import migrate
    from deploy.settings import read
    from gateway.main import serve
    from gateway.settings import from_env

    settings = read(from_env, os.environ)
    logs.configure()

    async def migrated() -> None:
        await migrate(settings.database_url)
        await serve(settings)

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
def run(
    model: str,
    *,
    input: Annotated[tuple[str, ...], Parameter(name=["--input", "-i"], negative=())] = (),
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
    from deploy.cli.api import reached
    from deploy.cli.running import run as run_model

    with reached(url, token) as api:
        return run_model(api, model, list(input), output_dir=output_dir, as_json=json)


@predictions.command(name="list")
def list_predictions(
    *,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The newest predictions: id, model, status, when it was made, seconds that it took."""
    from deploy.cli.api import reached
    from deploy.cli.browse import list_predictions

    with reached(url, token) as api:
        list_predictions(api, limit=limit, as_json=json)


@predictions.command(name="show")
def show_prediction(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """A prediction as JSON."""
    from deploy.cli.api import reached
    from deploy.cli.browse import show

    with reached(url, token) as api:
        show(api, f"/v1/predictions/{id}")


@predictions.command(name="cancel")
def cancel_prediction(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Stop a prediction."""
    from deploy.cli.api import reached

    with reached(url, token) as api:
        print(api.post(f"/v1/predictions/{id}/cancel")["status"])


@predictions.command(name="watch")
def watch_prediction(id: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> int:
    """Follow a prediction from its beginning: status, logs and output as they come."""
    from deploy.cli.api import reached
    from deploy.cli.browse import watch

    with reached(url, token) as api:
        return watch(api, id, as_json=json)


@models.command(name="list")
def list_models(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All models: name, runs, description."""
    from deploy.cli.api import reached
    from deploy.cli.browse import list_models

    with reached(url, token) as api:
        list_models(api, as_json=json)


@models.command(name="show")
def show_model(model: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """A model, and the inputs that it takes."""
    from deploy.cli.api import reached
    from deploy.cli.browse import show, show_model

    with reached(url, token) as api:
        if json:
            show(api, f"/v1/models/{model}")
        else:
            show_model(api, model)


@app.command
def token(*, data_dir: DataDir = None) -> None:
    """Print the token that `samovar up` made."""
    folder = data_dir or default_data_dir()
    try:
        print((folder.expanduser() / "token").read_text().strip())
    except OSError as error:
        raise Unusable(
            f"{folder / 'token'}: {error.strerror}; `samovar up` makes it. Another place is given with --data-dir"
        ) from None


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Under uvloop, which is quick, and with a collector that rarely looks.

    What lives for long was made at the start; what comes after it mostly dies by reference counts.
    """
    import asyncio
    import gc

    import uvloop

    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
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
