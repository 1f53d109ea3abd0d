"""The commands `samovar models …`."""

import sys
from itertools import islice
from typing import Any, Final, Literal
from urllib.parse import urlencode

from cyclopts import App
from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api, connect
from deploy.cli.client.inputs import resolve_schema
from deploy.cli.client.models import read_schema
from deploy.cli.client.references import Reference
from deploy.cli.commands.options import LOCAL_URL, Json, Limit, Token, Url, Yes, read_text, without_unset
from deploy.cli.terminal.output import Cells, Item, confirm, format_json, print_items, print_message, print_table
from deploy.errors import UsageError

models: Final = App(name="models")
models.command(
    "deploy.cli.commands.examples:examples", name="examples", help="List, add and remove the examples of a model."
)

COLUMNS: Final = ("model", "runs", "description")

Visibility = Literal["public", "private"]
Text = str | None


@models.command(name="list")
def list_models(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List all models: name, runs, description."""
    with connect(url, token) as api:
        print_items(list(api.list_items("/v1/models")), COLUMNS, model_cells, as_json=as_json)


@models.command(name="search")
def search_models(
    *words: str, limit: Limit = 25, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None
) -> None:
    """Search for models, best match first: name, runs, description."""
    path = f"/v1/models?{urlencode({'query': ' '.join(words)})}"
    with connect(url, token) as api:
        print_items(list(islice(api.list_items(path), limit)), COLUMNS, model_cells, as_json=as_json)


@models.command(name="show")
def show_model(model: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show a model, or one version of it, and the inputs that it takes.

    Parameters
    ----------
    model
        owner/name, or owner/name:version.
    """
    with connect(url, token) as api:
        reference = references.resolve_model(api, model)
        resource = api.get(reference.path)
    if as_json:
        print(format_json(resource))
        return
    if sys.stdout.isatty():
        _print_heading(reference, resource)
    columns = ("input", "type", "default", "description")
    print_table(columns, _input_rows(read_schema(reference, resource).document))


@models.command(name="versions")
def list_versions(model: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List the versions of a model, newest first: id, when it was created, and which one is the latest.

    Calls without a version run the latest one.
    """
    with connect(url, token) as api:
        reference = references.parse_model(model)
        versions = list(api.list_items(f"{reference.path}/versions"))
        latest: dict[str, Any] = {} if as_json else api.get(reference.path).get("latest_version") or {}

    def cells(version: Item) -> Cells:
        return version["id"], version["created_at"], "latest" if version["id"] == latest.get("id") else ""

    print_items(versions, ("version", "created", ""), cells, as_json=as_json)


@models.command(name="logs")
def show_logs(model: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Print what the build and the setup of a version logged.

    Parameters
    ----------
    model
        owner/name:version, or owner/name for its latest version.
    """
    with connect(url, token) as api:
        reference = references.resolve_model(api, model)
        if not reference.version:
            reference = Reference(reference.name, references.latest_version(api, reference)["id"])
        sys.stdout.write(api.get_text(f"{reference.path}/logs"))


@models.command(name="create")
def create_model(
    model: str,
    *,
    visibility: Visibility = "private",
    hardware: str = "cpu",
    description: Text = None,
    github_url: Text = None,
    paper_url: Text = None,
    license_url: Text = None,
    cover_image_url: Text = None,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Create a model without a version. `samovar push` creates a missing model by itself, as a public one.

    Parameters
    ----------
    model
        owner/name.
    visibility
        public: visible to all accounts. private: visible to its owner and to admins.
    hardware
        The hardware that the model runs on by default.
    """
    options = {
        "visibility": visibility,
        "hardware": hardware,
        "description": description,
        "github_url": github_url,
        "paper_url": paper_url,
        "license_url": license_url,
        "cover_image_url": cover_image_url,
    }
    owner, _, name = references.parse_model(model).name.partition("/")
    with connect(url, token) as api:
        created = api.post("/v1/models", {"owner": owner, "name": name} | without_unset(options))
    print(format_json(created) if as_json else f"made {model}")


@models.command(name="update")
def update_model(
    model: str,
    *,
    visibility: Visibility | None = None,
    hardware: Text = None,
    description: Text = None,
    readme: Text = None,
    github_url: Text = None,
    paper_url: Text = None,
    weights_url: Text = None,
    license_url: Text = None,
    cover_image_url: Text = None,
    default_example: Text = None,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Change the description of a model. Options that you leave out stay as they are; an empty text removes a field.

    Parameters
    ----------
    model
        owner/name.
    visibility
        public: visible to all accounts. private: visible to its owner and to admins.
    readme
        Markdown, or @file.
    default_example
        The id of a prediction that is one of the model's examples.
    """
    options = {
        "visibility": visibility,
        "hardware": hardware,
        "description": description,
        "readme": None if readme is None else read_text(readme),
        "github_url": github_url,
        "paper_url": paper_url,
        "weights_url": weights_url,
        "license_url": license_url,
        "cover_image_url": cover_image_url,
        "default_example": default_example,
    }
    changes = {name: value or None for name, value in without_unset(options).items()}
    if not changes:
        raise UsageError("there is nothing to change; `samovar models update --help` lists the options")
    with connect(url, token) as api:
        updated = api.patch(references.parse_model(model).path, changes)
    print(format_json(updated) if as_json else f"changed {model}")


@models.command(name="delete")
def delete_model(model: str, *, yes: Yes = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Delete a model with all its versions, or one version. Predictions that wait for it end.

    Parameters
    ----------
    model
        owner/name, or owner/name:version. The first digits of a version suffice.
    """
    with connect(url, token) as api:
        reference = references.resolve_model(api, model)
        api.get(reference.path)  # a model that does not exist is reported before anybody is asked
        if not yes and not confirm(_deletion_question(api, reference)):
            print_message("nothing was deleted")
            return 1
        api.delete(reference.path)
    print(f"deleted {reference}")
    return 0


def model_name(model: Item) -> str:
    """Return `owner/name` of a model that the API describes."""
    return f"{model['owner']}/{model['name']}"


def model_cells(model: Item) -> Cells:
    """Return the cells of a model in a table with `COLUMNS`."""
    return model_name(model), model["run_count"], model["description"]


def _print_heading(reference: Reference, resource: dict[str, Any]) -> None:
    description = resource.get("description") or "no description"
    print(f"{reference}\n" if reference.version else f"{reference}: {description}\n")
    labels: dict[str, str] = (resource.get("latest_version") or resource).get("labels") or {}
    if labels:
        print(f"labels: {', '.join(f'{name}={value}' for name, value in sorted(labels.items()))}\n")


def _input_rows(document: dict[str, Any]) -> list[Cells]:
    """Return a row for each input, in the predictor's order."""
    schemas = document.get("components", {}).get("schemas", {})
    input_schema = schemas.get("Input", {})
    required = input_schema.get("required", ())
    properties = sorted(input_schema.get("properties", {}).items(), key=lambda item: item[1].get("x-order", 0))
    return [
        (
            name,
            _describe_type(schema, schemas),
            "required" if name in required else json.encode(schema.get("default")).decode(),
            schema.get("description"),
        )
        for name, schema in properties
    ]


def _describe_type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    resolved = resolve_schema(schema, schemas)
    if "enum" in resolved:
        return " | ".join(map(str, resolved["enum"]))
    return "file" if resolved.get("format") == "uri" else str(resolved.get("type", "any"))


def _deletion_question(api: Api, reference: Reference) -> str:
    if reference.version:
        return f"Delete version {reference.version} of {reference.name}? Predictions that wait for it end."
    count = sum(1 for _ in api.list_items(f"{reference.path}/versions"))
    versions = "1 version" if count == 1 else f"{count} versions"
    return f"Delete {reference.name} with {versions}? Predictions that wait for it end."
