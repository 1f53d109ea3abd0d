"""The commands `samovar webhooks …`."""

from itertools import islice
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from cyclopts import App, Parameter

from deploy.cli.client.api import connect
from deploy.cli.commands.options import LOCAL_URL, Json, Limit, Token, Url
from deploy.cli.terminal.output import Cells, Item, format_json, print_items, print_table

webhooks: Final = App(name="webhooks")

SECRET_PATH: Final = "/v1/webhooks/default/secret"  # noqa: S105  a path of the API
DELIVERIES_PATH: Final = "/v1/webhooks/deliveries"
COLUMNS: Final = ("delivery", "prediction", "event", "state", "attempts", "last", "webhook")


@webhooks.command(name="list")
def list_deliveries(
    *,
    prediction: str | None = None,
    state: Literal["pending", "delivered", "failed", "dropped"] | None = None,
    limit: Limit = 100,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """List the newest deliveries: id, prediction, event, state, attempts, last result, address.

    Parameters
    ----------
    prediction
        List only deliveries for this prediction.
    state
        List only deliveries in this state.
    """
    filters = {"prediction": prediction, "state": state}
    query = urlencode({name: value for name, value in filters.items() if value})
    with connect(url, token) as api:
        page = list(islice(api.list_items(f"{DELIVERIES_PATH}?{query}"), limit))
    print_items(page, COLUMNS, _delivery_cells, as_json=as_json)


@webhooks.command(name="show")
def show_delivery(
    id: Annotated[str, Parameter(help="The webhook-id that the receiver saw: msg_…")],
    *,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Show every attempt of a delivery: when, how many seconds it took, status, and why it failed."""
    with connect(url, token) as api:
        delivery = api.get(f"{DELIVERIES_PATH}/{id}")
    if as_json:
        print(format_json(delivery))
        return
    rows = [(each["at"], each["seconds"], each["status"], each["error"]) for each in delivery["attempts"]]
    print_table(("at", "seconds", "status", "error"), rows)


@webhooks.command(name="redeliver")
def redeliver(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Send a delivery again, now."""
    with connect(url, token) as api:
        print(api.post(f"{DELIVERIES_PATH}/{id}/redeliver")["state"])


@webhooks.command(name="secret")
def show_secret(*, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Print the secret that signs your webhooks."""
    with connect(url, token) as api:
        print(api.get(SECRET_PATH)["key"])


@webhooks.command(name="rotate")
def rotate_secret(*, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Make a new secret and print it. For a while, the old one signs beside it."""
    with connect(url, token) as api:
        print(api.post(f"{SECRET_PATH}/rotate")["key"])


def _delivery_cells(delivery: Item) -> Cells:
    summary = delivery["id"], delivery["prediction"], delivery["event"], delivery["state"]
    return *summary, len(delivery["attempts"]), _last_result(delivery), delivery["webhook"]


def _last_result(delivery: Item) -> object:
    if not delivery["attempts"]:
        return ""
    last = delivery["attempts"][-1]
    return last["error"] or last["status"]
