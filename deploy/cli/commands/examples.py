"""The commands `samovar models examples …`."""

from typing import Any, Final
from urllib.parse import quote

from cyclopts import App
from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import connect
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url
from deploy.cli.terminal.output import Cells, Item, print_items

examples: Final = App(name="examples")


@examples.command(name="list")
def list_examples(model: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List the examples of a model, newest first: id, when it was created, input, and which one is the default."""
    with connect(url, token) as api:
        path = references.parse_model(model).path
        predictions = list(api.list_items(f"{path}/examples"))
        default: dict[str, Any] = {} if as_json else api.get(path).get("default_example") or {}

    def cells(prediction: Item) -> Cells:
        mark = "default" if prediction["id"] == default.get("id") else ""
        return prediction["id"], prediction["created_at"], json.encode(prediction["input"]).decode(), mark

    print_items(predictions, ("id", "created", "input", ""), cells, as_json=as_json)


@examples.command(name="add")
def add_example(model: str, prediction: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Add one of your predictions, by its id, to the examples of a model. Everybody who sees the model sees them."""
    with connect(url, token) as api:
        api.post(f"{references.parse_model(model).path}/examples", {"prediction": prediction})
    print(f"{prediction} is now an example of {model}")


@examples.command(name="remove")
def remove_example(model: str, prediction: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Remove a prediction from the examples of a model. The prediction itself stays."""
    with connect(url, token) as api:
        api.delete(f"{references.parse_model(model).path}/examples/{quote(prediction, safe='')}")
    print(f"{prediction} is no longer an example of {model}")
