"""`samovar deployments …` and `samovar hardware`, as they are typed."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Inputs, Json, Token, Url, Yes

deployments: Final = App(name="deployments", help="Keep a version ready under a name that stays.")

Hardware = Annotated[str | None, Parameter(name="--hardware")]
Least = Annotated[int | None, Parameter(name="--min-instances")]
Most = Annotated[int | None, Parameter(name="--max-instances")]


@deployments.command(name="list")
def list_deployments(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """Yours: name, release that serves and newest one, model, hardware, instances."""
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import list_deployments

    with reached(url, token) as api:
        list_deployments(api, as_json=json)


@deployments.command(name="show")
def show(name: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """A deployment as JSON: its newest release, which one serves, and how both stand."""
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import path
    from deploy.cli.terminal.output import pretty

    with reached(url, token) as api:
        print(pretty(api.get(path(api, name))))


@deployments.command(name="releases")
def releases(name: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All that it has had, newest first."""
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import list_releases

    with reached(url, token) as api:
        list_releases(api, name, as_json=json)


@deployments.command(name="create")
def create(
    name: str,
    model: str,
    *,
    hardware: Hardware = None,
    min_instances: Annotated[int, Parameter(name="--min-instances")] = 0,
    max_instances: Annotated[int, Parameter(name="--max-instances")] = 1,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """A new deployment, of a model's latest version or of the one that is named.

    Parameters
    ----------
    model
        owner/name, or owner/name:version; of a version the first digits suffice.
    hardware
        One of those that `samovar hardware` lists; may be left out if there is only one.
    min_instances
        How many are kept in any case.
    max_instances
        How many there may be; 0 pauses it.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import create

    with reached(url, token) as api:
        create(api, name, model, hardware, min_instances, max_instances)


@deployments.command(name="update")
def update(
    name: str,
    *,
    version: Annotated[str | None, Parameter(name="--version")] = None,
    hardware: Hardware = None,
    min_instances: Least = None,
    max_instances: Most = None,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """A new release, like the newest one but for what is given. It takes predictions once it is warm.

    Parameters
    ----------
    version
        64 hex digits.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import update

    given = {
        "version": version,
        "hardware": hardware,
        "min_instances": min_instances,
        "max_instances": max_instances,
    }
    with reached(url, token) as api:
        update(api, name, {field: value for field, value in given.items() if value is not None})


@deployments.command(name="rollback")
def rollback(
    name: str,
    number: Annotated[int | None, Parameter(name="--to")] = None,
    *,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """A new release that is like an earlier one.

    Parameters
    ----------
    number
        Of that release; by default the one before the newest.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import rollback

    with reached(url, token) as api:
        rollback(api, name, number)


@deployments.command(name="run")
def run(
    name: str,
    *,
    input: Inputs = (),
    output_dir: Path = Path(),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> int:
    """Run what a deployment has, and print what it says as it comes. Ctrl-C cancels the prediction.

    Parameters
    ----------
    name
        owner/name of the deployment.
    input
        name=value, or name=@file; given again for each input.
    output_dir
        Where files that the model makes are saved.
    json
        Print the prediction at its end, as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.run import run_deployed

    with reached(url, token) as api:
        return run_deployed(api, name, list(input), output_dir=output_dir, as_json=json)


@deployments.command(name="delete")
def delete(name: str, *, yes: Yes = False, url: Url = LOCAL, token: Token = None) -> int:
    """Delete a deployment of which no predictions wait or run.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import delete

    with reached(url, token) as api:
        return delete(api, name, sure=yes)


def hardware(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """What deployments can ask for: SKU and name."""
    from deploy.cli.client.api import reached
    from deploy.cli.deployed import list_hardware

    with reached(url, token) as api:
        list_hardware(api, as_json=json)
