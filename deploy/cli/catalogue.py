"""What the commands for models, examples, collections and search do, once it is known how the gateway is reached."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.terminal.output import pretty, table
from deploy.errors import Unusable


def create(api: Api, ref: str, given: Mapping[str, str | None], *, as_json: bool) -> None:
    owner, _, name = references.model(ref).name.partition("/")
    _told(api.post("/v1/models", {"owner": owner, "name": name} | _said(given)), f"made {ref}", as_json=as_json)


def update(api: Api, ref: str, given: Mapping[str, str | None], *, as_json: bool) -> None:
    changes: dict[str, Any] = {name: _read(name, value) or None for name, value in _said(given).items()}
    if not changes:
        raise Unusable("there is nothing to change: `samovar models update --help` lists what can be")
    _told(api.patch(references.model(ref).path, changes), f"changed {ref}", as_json=as_json)


def search_models(api: Api, text: str, *, limit: int, as_json: bool) -> None:
    found = list(islice(api.pages(f"/v1/models?{urlencode({'query': text})}"), limit))
    if as_json:
        print(pretty(found))
        return
    table(("model", "runs", "description"), [(_name(m), m["run_count"], m["description"]) for m in found])


def search(api: Api, text: str, *, limit: int, as_json: bool) -> None:
    found = api.get("/v1/search", query=text, limit=str(limit))
    if as_json:
        print(pretty(found))
        return
    models = [("model", _name(each["model"]), each["model"]["description"]) for each in found["models"]]
    collections = [("collection", each["slug"], each["description"]) for each in found["collections"]]
    table(("kind", "name", "description"), models + collections)


def list_examples(api: Api, ref: str, *, as_json: bool) -> None:
    path = references.model(ref).path
    found = list(api.pages(f"{path}/examples"))
    if as_json:
        print(pretty(found))
        return
    default: dict[str, Any] = api.get(path).get("default_example") or {}
    rows = [
        (p["id"], p["created_at"], json.encode(p["input"]).decode(), "default" if p["id"] == default.get("id") else "")
        for p in found
    ]
    table(("id", "created", "input", ""), rows)


def add_example(api: Api, ref: str, prediction: str) -> None:
    api.post(f"{references.model(ref).path}/examples", {"prediction": prediction})
    print(f"{prediction} is an example of {ref}")


def remove_example(api: Api, ref: str, prediction: str) -> None:
    api.delete(f"{references.model(ref).path}/examples/{quote(prediction, safe='')}")
    print(f"{prediction} is no example of {ref} any more")


def list_collections(api: Api, *, as_json: bool) -> None:
    found = list(api.pages("/v1/collections"))
    if as_json:
        print(pretty(found))
        return
    table(("slug", "name", "description"), [(c["slug"], c["name"], c["description"]) for c in found])


def show_collection(api: Api, slug: str, *, as_json: bool) -> None:
    """A line for each of its models."""
    found = api.get(_collection(slug))
    if as_json:
        print(pretty(found))
        return
    table(("model", "runs", "description"), [(_name(m), m["run_count"], m["description"]) for m in found["models"]])


def create_collection(api: Api, given: Mapping[str, str | None], models: Sequence[str], *, as_json: bool) -> None:
    said = {name: _read(name, value) for name, value in _said(given).items()}
    made = api.post("/v1/collections", {**said, "models": list(models)})
    _told(made, f"made {made['slug']}", as_json=as_json)


def update_collection(
    api: Api, slug: str, given: Mapping[str, str | None], models: Sequence[str] | None, *, as_json: bool
) -> None:
    changes: dict[str, Any] = {name: _read(name, value) for name, value in _said(given).items()}
    if models:
        changes["models"] = list(models)
    if not changes:
        raise Unusable("there is nothing to change: `samovar collections update --help` lists what can be")
    changed = api.patch(_collection(slug), changes)
    _told(changed, f"changed {changed['slug']}", as_json=as_json)


def delete_collection(api: Api, slug: str) -> None:
    api.delete(_collection(slug))
    print(f"deleted {slug}")


def _collection(slug: str) -> str:
    return f"/v1/collections/{quote(slug, safe='')}"


def _said(given: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in given.items() if value is not None}


def _read(name: str, value: str) -> str:
    """Long texts may be in files."""
    if name not in {"readme", "full_description"} or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{value[1:]}: {getattr(error, 'strerror', None) or 'it is no text'}") from None


def _name(model: Mapping[str, Any]) -> str:
    return f"{model['owner']}/{model['name']}"


def _told(made: dict[str, Any], done: str, *, as_json: bool) -> None:
    print(pretty(made) if as_json else done)
