"""The commands `samovar predictions …`."""

import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, Literal
from urllib.parse import urlencode

from cyclopts import App
from msgspec import json
from rich.console import Console
from rich.text import Text

from deploy.cli.client import references
from deploy.cli.client.api import Api, connect
from deploy.cli.client.predictions import describe_failure, describe_status, wait_until_final
from deploy.cli.client.times import parse_time
from deploy.cli.commands.options import LOCAL_URL, Json, JsonLines, Limit, Token, Url
from deploy.cli.terminal.output import Cells, ChunkPrinter, Item, format_json, print_items, print_message
from deploy.cli.terminal.progress import Progress
from deploy.errors import UsageError

predictions: Final = App(name="predictions")

COLUMNS: Final = ("id", "model", "status", "created", "seconds")
STATUS_STYLES: Final = {"succeeded": "green", "failed": "red", "canceled": "yellow"}


@predictions.command(name="list")
def list_predictions(
    *,
    limit: Limit = 100,
    source: Literal["api", "web"] | None = None,
    since: str | None = None,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """List the newest predictions: id, model, status, when it was created, how many seconds it took.

    Parameters
    ----------
    source
        List only predictions created through the API, or on the website.
    since
        List only predictions created after this time, such as 2026-01-31T12:00:00Z, or 30min, 2h or 7d ago.
    """
    filters = {"source": source, "created_after": parse_time(since) if since else None}
    query = urlencode({name: value for name, value in filters.items() if value})
    with connect(url, token) as api:
        page = api.list_items("/v1/predictions" + (f"?{query}" if query else ""))
        print_items(list(islice(page, limit)), COLUMNS, _prediction_cells, as_json=as_json)


@predictions.command(name="show")
def show_prediction(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show a prediction as JSON.

    Parameters
    ----------
    id
        The id of the prediction; its first characters suffice.
    """
    with connect(url, token) as api:
        print(format_json(api.get(f"/v1/predictions/{references.resolve_prediction(api, id)}")))


@predictions.command(name="cancel")
def cancel_prediction(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Cancel a prediction.

    Parameters
    ----------
    id
        The id of the prediction; its first characters suffice.
    """
    with connect(url, token) as api:
        print(api.post(f"/v1/predictions/{references.resolve_prediction(api, id)}/cancel")["status"])


@predictions.command(name="watch")
def watch_prediction(id: str, *, as_json: JsonLines = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Follow a prediction from its beginning: status, logs and output as they arrive.

    Parameters
    ----------
    id
        The id of the prediction; its first characters suffice.
    """
    with connect(url, token) as api:
        id = references.resolve_prediction(api, id)
        stream_url = api.get(f"/v1/predictions/{id}")["urls"].get("stream")
        if not stream_url:
            raise UsageError(f"prediction {id} has no stream, as its model returns its output in one piece")
        _print_events(api, stream_url, as_json=as_json)
        prediction = wait_until_final(api, "predictions", id)
    if prediction["status"] == "succeeded":
        return 0
    print_message(describe_failure(prediction))
    return 1


@predictions.command(name="follow")
def follow_predictions(*, as_json: JsonLines = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Follow all predictions from now on: print a line when one is created, starts or ends.

    In a pipe, a line has: id, model, status, time, how many seconds it took, error.
    """
    console = Console(highlight=False) if sys.stdout.isatty() and not as_json else None
    with connect(url, token) as api:
        for event in api.stream_events("/v1/predictions/events"):
            match event.kind:
                case "reset":
                    print_message("some predictions were missed; `samovar predictions list` lists them")
                case "prediction" if as_json:
                    print(event.data, flush=True)
                case "prediction":
                    _print_change(console, json.decode(event.data))
                case _:
                    pass


def _print_events(api: Api, stream_url: str, *, as_json: bool) -> None:
    printer = ChunkPrinter(is_text=False, enabled=not as_json)
    with Progress("") as progress:
        for event in api.stream_events(stream_url):
            if as_json:
                print(json.encode({"event": event.kind, "id": event.id, "data": event.data}).decode(), flush=True)
                continue
            match event.kind:
                case "status":
                    progress.update(describe_status(json.decode(event.data)))
                case "logs":
                    progress.print_log(event.data)
                case "output":
                    printer.add(event.data)
                case "restarted":
                    printer.restart()
                case _:
                    pass


def _print_change(console: Console | None, prediction: Mapping[str, Any]) -> None:
    time = prediction.get("completed_at") or prediction.get("started_at") or prediction["created_at"]
    summary = [prediction["id"], prediction["model"], prediction["status"]]
    cells = [*summary, time, _total_time(prediction), prediction.get("error")]
    texts = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
    if console is None:
        print("\t".join(texts), flush=True)
        return
    status = Text(texts[2], style=STATUS_STYLES.get(texts[2], ""))
    console.print(Text("  ".join(texts[:2])), status, Text(" ".join(texts[3:])))


def _prediction_cells(prediction: Item) -> Cells:
    summary = prediction["id"], prediction["model"], prediction["status"]
    return *summary, prediction["created_at"], _total_time(prediction)


def _total_time(prediction: Item) -> object:
    metrics: Mapping[str, object] = prediction.get("metrics") or {}
    return metrics.get("total_time")
