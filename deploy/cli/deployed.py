"""What `samovar deployments …` and `samovar hardware` do."""

import sys
from collections.abc import Mapping
from typing import Any

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.commands.delete import agreed
from deploy.cli.terminal.output import pretty, table
from deploy.errors import Unusable


def path(api: Api, name: str) -> str:
    """Of owner/name, or of a name of one's own."""
    owner, _, short = name.rpartition("/")
    return f"/v1/deployments/{owner or api.get('/v1/account')['username']}/{short}"


def list_deployments(api: Api, *, as_json: bool) -> None:
    found = list(api.pages("/v1/deployments"))
    if as_json:
        print(pretty(found))
        return
    rows = [
        (
            f"{each['owner']}/{each['name']}",
            each["serving"]["number"],
            each["current_release"]["number"],
            each["current_release"]["model"],
            *_configured(each["current_release"]),
            _standing(each),
        )
        for each in found
    ]
    table(("deployment", "serves", "newest", "model", "hardware", "instances", "state"), rows)


def list_releases(api: Api, name: str, *, as_json: bool) -> None:
    found = list(api.pages(f"{path(api, name)}/releases"))
    if as_json:
        print(pretty(found))
        return
    rows = [(each["number"], each["version"], *_configured(each), each["created_at"]) for each in found]
    table(("release", "version", "hardware", "instances", "created"), rows)


def create(api: Api, name: str, model: str, hardware: str | None, least: int, most: int) -> None:
    named = references.read(api, model)
    latest: dict[str, Any] = {} if named.version else api.get(named.path).get("latest_version") or {}
    version = named.version or latest.get("id")
    if not version:
        raise Unusable(f"{model}: it has no version yet")
    body = {
        "name": name,
        "model": named.name,
        "version": version,
        "hardware": hardware or _only_hardware(api),
        "min_instances": least,
        "max_instances": most,
    }
    made = api.post("/v1/deployments", body)
    print(f"{made['owner']}/{made['name']}")


def update(api: Api, name: str, given: Mapping[str, Any]) -> None:
    if not given:
        raise Unusable("nothing to change: say --version, --hardware, --min-instances or --max-instances")
    _tell(api.patch(path(api, name), given))


def rollback(api: Api, name: str, number: int | None) -> None:
    _tell(api.post(f"{path(api, name)}/rollback", {} if number is None else {"number": number}))


def delete(api: Api, name: str, *, sure: bool) -> int:
    """Returns the exit status."""
    place = path(api, name)
    api.get(place)  # what is not there is told of before anybody is asked
    if not sure and not agreed(f"Delete the deployment {name}?"):
        print("samovar: nothing was deleted", file=sys.stderr)
        return 1
    api.delete(place)
    print(f"deleted {name}")
    return 0


def list_hardware(api: Api, *, as_json: bool) -> None:
    found: Any = api.get("/v1/hardware")
    if as_json:
        print(pretty(found))
        return
    table(("sku", "name"), [(each["sku"], each["name"]) for each in found])


def _only_hardware(api: Api) -> str:
    found: Any = api.get("/v1/hardware")
    kinds = [each["sku"] for each in found]
    if len(kinds) != 1:
        raise Unusable(f"say which --hardware: {', '.join(kinds)}")
    return kinds[0]


def _tell(deployment: dict[str, Any]) -> None:
    newest, serving = deployment["current_release"]["number"], deployment["serving"]["number"]
    later = "" if newest == serving else f"; {serving} serves until it is warm"
    print(f"release {newest}{later}")


def _configured(release: dict[str, Any]) -> tuple[str, str]:
    wanted = release["configuration"]
    return wanted["hardware"], f"{wanted['min_instances']}-{wanted['max_instances']}"


def _standing(deployment: dict[str, Any]) -> str:
    """Of the newest release."""
    state = deployment.get("upcoming") or deployment["serving"]
    return state.get("error") or ("warm" if state["warm"] else state.get("starting", "cold"))
