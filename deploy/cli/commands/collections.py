"""`samovar collections …`, as they are typed."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Json, Token, Url

collections: Final = App(name="collections", help="Models under one heading. Admins make them, everybody reads them.")

Models = Annotated[tuple[str, ...], Parameter(name=["--model", "-m"], negative=())]
Text = str | None


@collections.command(name="list")
def list_all(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All collections: slug, name, description."""
    from deploy.cli.catalogue import list_collections
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_collections(api, as_json=json)


@collections.command(name="show")
def show(slug: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """A collection's models: name, runs, description."""
    from deploy.cli.catalogue import show_collection
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show_collection(api, slug, as_json=json)


@collections.command(name="create")
def create(
    name: str,
    *,
    description: str,
    slug: Text = None,
    full_description: Text = None,
    model: Models = (),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Make a collection.

    Parameters
    ----------
    name
        Its heading.
    slug
        a-z, 0-9 and -; made from the name if it is left out.
    full_description
        Markdown, or @file.
    model
        owner/name; given again for each model, in the order shown.
    json
        Print it as JSON.
    """
    from deploy.cli.catalogue import create_collection
    from deploy.cli.client.api import reached

    given = {"name": name, "slug": slug, "description": description, "full_description": full_description}
    with reached(url, token) as api:
        create_collection(api, given, model, as_json=json)


@collections.command(name="update")
def update(
    slug: str,
    *,
    name: Text = None,
    new_slug: Text = None,
    description: Text = None,
    full_description: Text = None,
    model: Models = (),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Change a collection. What is not given stays.

    Parameters
    ----------
    new_slug
        What it is to be found by from now on.
    full_description
        Markdown, or @file.
    model
        owner/name; given again for each model. They take the place of all that it has.
    json
        Print it as JSON.
    """
    from deploy.cli.catalogue import update_collection
    from deploy.cli.client.api import reached

    given = {"name": name, "slug": new_slug, "description": description, "full_description": full_description}
    with reached(url, token) as api:
        update_collection(api, slug, given, model, as_json=json)


@collections.command(name="delete")
def delete(slug: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Delete a collection. Its models stay."""
    from deploy.cli.catalogue import delete_collection
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        delete_collection(api, slug)
