"""`samovar predictions …` and `samovar models …`, as they are typed."""

from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Json, Token, Url, Yes

predictions: Final = App(name="predictions", help="Look at predictions, follow them, cancel them.")
models: Final = App(name="models", help="Look at the models that can be run, and delete what was pushed.")


@predictions.command(name="list")
def list_predictions(
    *,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    source: Literal["api", "web"] | None = None,
    since: str | None = None,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The newest predictions: id, model, status, when it was made, seconds that it took.

    Parameters
    ----------
    limit
        How many, at most.
    source
        Only those that were made through the API, or on the website.
    since
        Only those made since then: 2026-01-31T12:00:00Z, or as long ago as 30min, 2h or 7d.
    """
    from deploy.cli.browse import list_predictions
    from deploy.cli.client.api import reached
    from deploy.cli.client.times import moment

    with reached(url, token) as api:
        list_predictions(api, limit=limit, source=source, since=moment(since) if since else None, as_json=json)


@predictions.command(name="show")
def show_prediction(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """A prediction as JSON. The first characters of its id suffice, as for `cancel` and `watch`."""
    from deploy.cli.browse import show
    from deploy.cli.client.api import reached
    from deploy.cli.client.references import prediction

    with reached(url, token) as api:
        show(api, f"/v1/predictions/{prediction(api, id)}")


@predictions.command(name="cancel")
def cancel_prediction(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Stop a prediction."""
    from deploy.cli.client.api import reached
    from deploy.cli.client.references import prediction

    with reached(url, token) as api:
        print(api.post(f"/v1/predictions/{prediction(api, id)}/cancel")["status"])


@predictions.command(name="watch")
def watch_prediction(id: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> int:
    """Follow a prediction from its beginning: status, logs and output as they come."""
    from deploy.cli.browse import watch
    from deploy.cli.client.api import reached
    from deploy.cli.client.references import prediction

    with reached(url, token) as api:
        return watch(api, prediction(api, id), as_json=json)


@predictions.command(name="follow")
def follow_predictions(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All predictions from now on, a line whenever one is made, begins or ends.

    In a pipe: id, model, status, the moment of that, seconds that it took, error.

    Parameters
    ----------
    json
        A line of JSON each.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.following import follow

    with reached(url, token) as api:
        follow(api, as_json=json)


@models.command(name="list")
def list_models(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All models: name, runs, description."""
    from deploy.cli.browse import list_models
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_models(api, as_json=json)


@models.command(name="show")
def show_model(model: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """A model, or owner/name:version, and the inputs that it takes."""
    from deploy.cli.browse import show_model
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show_model(api, model, as_json=json)


@models.command(name="versions")
def list_versions(model: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """A model's versions, newest first: id, when it was made, which one answers."""
    from deploy.cli.browse import list_versions
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_versions(api, model, as_json=json)


@models.command(name="logs")
def show_logs(model: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """What the build and the set-up of a version printed: owner/name:version, or the latest of owner/name."""
    from deploy.cli.browse import show_logs
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show_logs(api, model)


@models.command(name="delete")
def delete_model(model: str, *, yes: Yes = False, url: Url = LOCAL, token: Token = None) -> int:
    """Delete a model with all its versions, or one version: owner/name:version. Predictions that wait for it end.

    Parameters
    ----------
    model
        owner/name, or owner/name:version; of a version the first digits suffice.
    yes
        Do not ask.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.delete import delete

    with reached(url, token) as api:
        return delete(api, model, sure=yes)
