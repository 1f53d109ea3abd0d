"""The commands `samovar collections …`."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from deploy.cli.client.api import connect
from deploy.cli.commands import models
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url, read_text, without_unset
from deploy.cli.terminal.output import Cells, Item, format_json, print_items, print_table
from deploy.errors import UsageError

collections: Final = App(name="collections")

Models = Annotated[tuple[str, ...], Parameter(name=["--model", "-m"], negative=())]
Text = str | None


@collections.command(name="list")
def list_collections(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List all collections: slug, name, description."""
    columns = ("slug", "name", "description")
    with connect(url, token) as api:
        print_items(list(api.list_items("/v1/collections")), columns, _collection_cells, as_json=as_json)


@collections.command(name="show")
def show_collection(slug: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show the models of a collection: name, runs, description."""
    with connect(url, token) as api:
        collection = api.get(_collection_path(slug))
    if as_json:
        print(format_json(collection))
        return
    print_table(models.COLUMNS, [models.model_cells(model) for model in collection["models"]])


@collections.command(name="create")
def create_collection(
    name: str,
    *,
    description: str,
    slug: Text = None,
    full_description: Text = None,
    model: Models = (),
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Create a collection.

    Parameters
    ----------
    name
        The heading of the collection.
    slug
        Its name in addresses: a-z, 0-9 and -. By default, it is made from the name.
    full_description
        Markdown, or @file.
    model
        owner/name. Repeat it for each model, in the order in which they are shown.
    """
    fields = _set_fields(name, slug, description, full_description)
    with connect(url, token) as api:
        created = api.post("/v1/collections", {**fields, "models": list(model)})
    print(format_json(created) if as_json else f"made {created['slug']}")


@collections.command(name="update")
def update_collection(
    slug: str,
    *,
    name: Text = None,
    new_slug: Text = None,
    description: Text = None,
    full_description: Text = None,
    model: Models = (),
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Change a collection. Options that you leave out stay as they are.

    Parameters
    ----------
    new_slug
        The collection's new name in addresses.
    full_description
        Markdown, or @file.
    model
        owner/name. Repeat it for each model. These models replace all that the collection has.
    """
    changes: dict[str, Any] = _set_fields(name, new_slug, description, full_description)
    if model:
        changes["models"] = list(model)
    if not changes:
        raise UsageError("there is nothing to change; `samovar collections update --help` lists the options")
    with connect(url, token) as api:
        updated = api.patch(_collection_path(slug), changes)
    print(format_json(updated) if as_json else f"changed {updated['slug']}")


@collections.command(name="delete")
def delete_collection(slug: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Delete a collection. Its models stay."""
    with connect(url, token) as api:
        api.delete(_collection_path(slug))
    print(f"deleted {slug}")


def _set_fields(name: Text, slug: Text, description: Text, full_description: Text) -> dict[str, Any]:
    return without_unset(
        {
            "name": name,
            "slug": slug,
            "description": description,
            "full_description": None if full_description is None else read_text(full_description),
        }
    )


def _collection_path(slug: str) -> str:
    return f"/v1/collections/{quote(slug, safe='')}"


def _collection_cells(collection: Item) -> Cells:
    return collection["slug"], collection["name"], collection["description"]
