"""`samovar webhooks …`: what was sent to them, sending it again, and the secret that they are signed with."""

from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Json, Token, Url

webhooks: Final = App(name="webhooks", help="What was sent to webhooks, sending it again, and their secret.")

SIGNING: Final = "/v1/webhooks/default/secret"
DELIVERIES: Final = "/v1/webhooks/deliveries"


@webhooks.command(name="list")
def list_deliveries(
    *,
    prediction: str | None = None,
    state: Literal["pending", "delivered", "failed", "dropped"] | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The newest deliveries: id, prediction, event, state, attempts, what was said last, address.

    Parameters
    ----------
    prediction
        Of this one only.
    state
        pending, delivered, failed or dropped.
    limit
        How many.
    json
        Print them as JSON.
    """
    from itertools import islice
    from urllib.parse import urlencode

    from deploy.cli.client.api import reached
    from deploy.cli.terminal.output import pretty, table

    wanted = {name: value for name, value in (("prediction", prediction), ("state", state)) if value}
    with reached(url, token) as api:
        found = list(islice(api.pages(f"{DELIVERIES}?{urlencode(wanted)}"), limit))
    if json:
        print(pretty(found))
        return
    rows = [
        (d["id"], d["prediction"], d["event"], d["state"], len(d["attempts"]), _last(d), d["webhook"]) for d in found
    ]
    table(("delivery", "prediction", "event", "state", "attempts", "last", "webhook"), rows)


@webhooks.command(name="show")
def show_delivery(id: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """Every attempt of a delivery: when, seconds that it took, status, and why it failed.

    Parameters
    ----------
    id
        msg_…: the webhook-id that its receiver saw.
    json
        Print it as JSON.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.terminal.output import pretty, table

    with reached(url, token) as api:
        found = api.get(f"{DELIVERIES}/{id}")
    if json:
        print(pretty(found))
        return
    rows = [(each["at"], each["seconds"], each["status"], each["error"]) for each in found["attempts"]]
    table(("at", "seconds", "status", "error"), rows)


@webhooks.command(name="redeliver")
def redeliver(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Send it again, now."""
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        print(api.post(f"{DELIVERIES}/{id}/redeliver")["state"])


@webhooks.command(name="secret")
def show_secret(*, url: Url = LOCAL, token: Token = None) -> None:
    """Print what webhooks are signed with."""
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        print(api.get(SIGNING)["key"])


@webhooks.command(name="rotate")
def rotate_secret(*, url: Url = LOCAL, token: Token = None) -> None:
    """Make a new secret, and print it; the old one signs beside it for a while."""
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        print(api.post(f"{SIGNING}/rotate")["key"])


def _last(delivery: dict[str, Any]) -> object:
    if not delivery["attempts"]:
        return ""
    last = delivery["attempts"][-1]
    return last["error"] or last["status"]
