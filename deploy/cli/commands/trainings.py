"""`samovar train` and `samovar trainings …`, as they are typed."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Inputs, Json, Token, Url

trainings: Final = App(name="trainings", help="Look at trainings, follow them, cancel them.")


def train(
    model: str,
    *,
    destination: str,
    input: Inputs = (),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> int:
    """Train a model, show its log as it comes, and print the version that comes of it. Ctrl-C cancels the training.

    Parameters
    ----------
    model
        owner/name, or owner/name:version: what is trained.
    destination
        owner/name of the model that gets the new version; it has to be there.
    input
        name=value, or name=@file; given again for each input.
    json
        Print the training at its end, as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.train import train

    with reached(url, token) as api:
        return train(api, model, destination, list(input), as_json=json)


@trainings.command(name="list")
def list_trainings(
    *,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The newest trainings: id, what is trained, its destination, status, when it was made, seconds that it took."""
    from deploy.cli.client.api import reached
    from deploy.cli.train import list_trainings

    with reached(url, token) as api:
        list_trainings(api, limit=limit, as_json=json)


@trainings.command(name="show")
def show_training(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """A training as JSON."""
    from deploy.cli.browse import show
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show(api, f"/v1/trainings/{id}")


@trainings.command(name="cancel")
def cancel_training(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Stop a training."""
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        print(api.post(f"/v1/trainings/{id}/cancel")["status"])


@trainings.command(name="watch")
def watch_training(id: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> int:
    """Follow a training from its beginning: status and log as they come, and how it ended."""
    from deploy.cli.client.api import reached
    from deploy.cli.train import watch

    with reached(url, token) as api:
        return watch(api, id, as_json=json)
