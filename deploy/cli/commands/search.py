"""The command `samovar search`."""

from collections.abc import Iterator
from typing import Any

from deploy.cli.client.api import connect
from deploy.cli.commands.models import model_name
from deploy.cli.commands.options import LOCAL_URL, Json, Limit, Token, Url
from deploy.cli.terminal.output import Cells, format_json, print_table


def search(*words: str, limit: Limit = 20, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Search for models and collections, best match first: kind, name, description."""
    with connect(url, token) as api:
        results = api.get("/v1/search", query=" ".join(words), limit=str(limit))
    if as_json:
        print(format_json(results))
        return
    print_table(("kind", "name", "description"), list(_result_rows(results)))


def _result_rows(results: dict[str, Any]) -> Iterator[Cells]:
    for result in results["models"]:
        yield "model", model_name(result["model"]), result["model"]["description"]
    for collection in results["collections"]:
        yield "collection", collection["slug"], collection["description"]
