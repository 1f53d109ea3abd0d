"""The command `samovar hardware`."""

from typing import Any

from deploy.cli.client.api import connect
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url
from deploy.cli.terminal.output import Cells, Item, print_items


def hardware(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List the hardware that deployments can ask for: SKU and name."""
    with connect(url, token) as api:
        kinds: Any = api.get("/v1/hardware")
    print_items(kinds, ("sku", "name"), _hardware_cells, as_json=as_json)


def _hardware_cells(hardware: Item) -> Cells:
    return hardware["sku"], hardware["name"]
