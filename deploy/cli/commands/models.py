"""`samovar models create`, `update`, `search` and `examples …`, and `samovar search`, as they are typed."""

from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Json, Token, Url
from deploy.cli.commands.predictions import models

examples: Final = App(name="examples", help="Predictions that are shown with a model.")
models.command(examples)

Visibility = Literal["public", "private"]
Text = str | None
Limit = Annotated[int, Parameter(name=["--limit", "-n"])]


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
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Make a model that has no version yet. `samovar push` makes one by itself, a public one.

    Parameters
    ----------
    model
        owner/name.
    visibility
        public, for all accounts; or private, for its owner and admins.
    hardware
        What it runs on by default.
    json
        Print it as JSON.
    """
    from deploy.cli.catalogue import create
    from deploy.cli.client.api import reached

    given = {
        "description": description,
        "github_url": github_url,
        "paper_url": paper_url,
        "license_url": license_url,
        "cover_image_url": cover_image_url,
    }
    with reached(url, token) as api:
        create(api, model, {"visibility": visibility, "hardware": hardware} | given, as_json=json)


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
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Change what is said of a model. What is not given stays; an empty text takes away.

    Parameters
    ----------
    model
        owner/name.
    visibility
        public, for all accounts; or private, for its owner and admins.
    readme
        Markdown, or @file.
    default_example
        The id of a prediction that is one of its examples.
    json
        Print it as JSON.
    """
    from deploy.cli.catalogue import update
    from deploy.cli.client.api import reached

    given = {
        "visibility": visibility,
        "hardware": hardware,
        "description": description,
        "readme": readme,
        "github_url": github_url,
        "paper_url": paper_url,
        "weights_url": weights_url,
        "license_url": license_url,
        "cover_image_url": cover_image_url,
        "default_example": default_example,
    }
    with reached(url, token) as api:
        update(api, model, given, as_json=json)


@models.command(name="search")
def search_models(*words: str, limit: Limit = 25, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """The models that fit best: name, runs, description."""
    from deploy.cli.catalogue import search_models
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        search_models(api, " ".join(words), limit=limit, as_json=json)


def search(*words: str, limit: Limit = 20, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """The models and collections that fit best: which of the two, name, description."""
    from deploy.cli.catalogue import search
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        search(api, " ".join(words), limit=limit, as_json=json)


@examples.command(name="list")
def list_examples(model: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """A model's examples, newest first: id, when it was made, input; the default one is marked."""
    from deploy.cli.catalogue import list_examples
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_examples(api, model, as_json=json)


@examples.command(name="add")
def add_example(model: str, prediction: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Show one of your predictions, by its id, with a model, to all who see it."""
    from deploy.cli.catalogue import add_example
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        add_example(api, model, prediction)


@examples.command(name="remove")
def remove_example(model: str, prediction: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Show it no more. The prediction stays."""
    from deploy.cli.catalogue import remove_example
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        remove_example(api, model, prediction)
