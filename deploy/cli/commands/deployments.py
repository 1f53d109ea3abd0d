"""The commands `samovar deployments …`."""

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from deploy.cli.client import references
from deploy.cli.client.api import Api, connect
from deploy.cli.commands.options import LOCAL_URL, Inputs, Json, JsonResult, OutputDir, Token, Url, Yes
from deploy.cli.commands.run import run_deployment
from deploy.cli.terminal.output import Cells, Item, confirm, format_json, print_items, print_message
from deploy.errors import UsageError

deployments: Final = App(name="deployments")

DEPLOYMENT_COLUMNS: Final = ("deployment", "serves", "newest", "model", "hardware", "instances", "state")
RELEASE_COLUMNS: Final = ("release", "version", "hardware", "instances", "created")

Hardware = Annotated[str | None, Parameter(name="--hardware")]


@deployments.command(name="list")
def list_deployments(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List your deployments: name, serving and newest release, model, hardware, instances, state of the newest."""
    with connect(url, token) as api:
        page = list(api.list_items("/v1/deployments"))
        print_items(page, DEPLOYMENT_COLUMNS, _deployment_cells, as_json=as_json)


@deployments.command(name="show")
def show_deployment(name: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show a deployment as JSON: its newest release, the release that serves, and the state of both."""
    with connect(url, token) as api:
        print(format_json(api.get(_deployment_path(api, name))))


@deployments.command(name="releases")
def list_releases(name: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List all releases of a deployment, newest first: number, version, hardware, instances, when it was created."""
    with connect(url, token) as api:
        page = list(api.list_items(f"{_deployment_path(api, name)}/releases"))
        print_items(page, RELEASE_COLUMNS, _release_cells, as_json=as_json)


@deployments.command(name="create")
def create_deployment(
    name: str,
    model: str,
    *,
    hardware: Hardware = None,
    min_instances: Annotated[int, Parameter(name="--min-instances")] = 0,
    max_instances: Annotated[int, Parameter(name="--max-instances")] = 1,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Create a deployment of a model's latest version, or of the version that you name.

    Parameters
    ----------
    model
        owner/name, or owner/name:version. The first digits of a version suffice.
    hardware
        One of those that `samovar hardware` lists. You can leave it out if there is only one.
    min_instances
        The number of instances that stay loaded in any case.
    max_instances
        The maximum number of instances; 0 pauses the deployment.
    """
    with connect(url, token) as api:
        reference = references.resolve_model(api, model)
        body = {
            "name": name,
            "model": reference.name,
            "version": reference.version or references.latest_version(api, reference)["id"],
            "hardware": hardware or _only_hardware(api),
            "min_instances": min_instances,
            "max_instances": max_instances,
        }
        created = api.post("/v1/deployments", body)
    print(f"{created['owner']}/{created['name']}")


@deployments.command(name="update")
def update_deployment(
    name: str,
    *,
    version: Annotated[str | None, Parameter(name="--version")] = None,
    hardware: Hardware = None,
    min_instances: Annotated[int | None, Parameter(name="--min-instances")] = None,
    max_instances: Annotated[int | None, Parameter(name="--max-instances")] = None,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Make a new release with the changes that you name. It takes predictions once it is warm.

    Parameters
    ----------
    version
        The version to serve: 64 hex digits.
    hardware
        One of those that `samovar hardware` lists.
    min_instances
        The number of instances that stay loaded in any case.
    max_instances
        The maximum number of instances; 0 pauses the deployment.
    """
    options = {
        "version": version,
        "hardware": hardware,
        "min_instances": min_instances,
        "max_instances": max_instances,
    }
    changes = {field: value for field, value in options.items() if value is not None}
    if not changes:
        raise UsageError("nothing to change; add --version, --hardware, --min-instances or --max-instances")
    with connect(url, token) as api:
        _print_release(api.patch(_deployment_path(api, name), changes))


@deployments.command(name="rollback")
def rollback_deployment(
    name: str,
    number: Annotated[int | None, Parameter(name="--to")] = None,
    *,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Make a new release that equals an earlier one.

    Parameters
    ----------
    number
        The number of the earlier release; by default, the one before the newest.
    """
    with connect(url, token) as api:
        body = {} if number is None else {"number": number}
        _print_release(api.post(f"{_deployment_path(api, name)}/rollback", body))


@deployments.command(name="run")
def run(
    name: str,
    *,
    input: Inputs = (),
    output_dir: OutputDir = Path(),
    as_json: JsonResult = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> int:
    """Run a deployment, and print its output as it arrives. Ctrl-C cancels the prediction.

    Parameters
    ----------
    name
        The deployment: owner/name.
    """
    with connect(url, token) as api:
        return run_deployment(api, name, input, output_dir=output_dir, as_json=as_json)


@deployments.command(name="delete")
def delete_deployment(name: str, *, yes: Yes = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Delete a deployment that has no waiting or running predictions."""
    with connect(url, token) as api:
        path = _deployment_path(api, name)
        api.get(path)  # a deployment that does not exist is reported before anybody is asked
        if not yes and not confirm(f"Delete the deployment {name}?"):
            print_message("nothing was deleted")
            return 1
        api.delete(path)
    print(f"deleted {name}")
    return 0


def _deployment_path(api: Api, name: str) -> str:
    """Return the path of `owner/name`, or of a name in your own account."""
    owner, _, short_name = name.rpartition("/")
    return f"/v1/deployments/{owner or api.get('/v1/account')['username']}/{short_name}"


def _only_hardware(api: Api) -> str:
    hardware: Any = api.get("/v1/hardware")
    skus = [each["sku"] for each in hardware]
    if len(skus) != 1:
        raise UsageError(f"choose the hardware with --hardware: {', '.join(skus)}")
    return skus[0]


def _print_release(deployment: dict[str, Any]) -> None:
    newest, serving = deployment["current_release"]["number"], deployment["serving"]["number"]
    note = "" if newest == serving else f"; {serving} serves until it is warm"
    print(f"release {newest}{note}")


def _deployment_cells(deployment: Item) -> Cells:
    release = deployment["current_release"]
    return (
        f"{deployment['owner']}/{deployment['name']}",
        deployment["serving"]["number"],
        release["number"],
        release["model"],
        *_configuration_cells(release),
        _newest_state(deployment),
    )


def _release_cells(release: Item) -> Cells:
    return release["number"], release["version"], *_configuration_cells(release), release["created_at"]


def _configuration_cells(release: Item) -> tuple[str, str]:
    configuration = release["configuration"]
    return configuration["hardware"], f"{configuration['min_instances']}-{configuration['max_instances']}"


def _newest_state(deployment: Item) -> str:
    state = deployment.get("upcoming") or deployment["serving"]
    return state.get("error") or ("warm" if state["warm"] else state.get("starting", "cold"))
