"""`samovar predictions follow`: all predictions, as they are made, begin and end."""

import sys
from collections.abc import Mapping
from typing import Any, Final

from msgspec import json
from rich.console import Console
from rich.text import Text

from deploy.cli.client.api import Api

STYLES: Final = {"succeeded": "green", "failed": "red", "canceled": "yellow"}


def follow(api: Api, *, as_json: bool) -> None:
    """Until an interrupt."""
    console = Console(highlight=False) if sys.stdout.isatty() and not as_json else None
    for event in api.events("/v1/predictions/events"):
        match event.kind:
            case "reset":
                print("samovar: some were missed; `samovar predictions list` has them", file=sys.stderr, flush=True)
            case "prediction" if as_json:
                print(event.data, flush=True)
            case "prediction":
                _show(console, json.decode(event.data))
            case _:
                pass


def _show(console: Console | None, p: Mapping[str, Any]) -> None:
    moment = p.get("completed_at") or p.get("started_at") or p["created_at"]
    metrics: Mapping[str, object] = p.get("metrics") or {}
    cells = [p["id"], p["model"], p["status"], moment, metrics.get("total_time"), p.get("error")]
    texts = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
    if console is None:
        print("\t".join(texts), flush=True)
    else:
        console.print(
            Text("  ".join(texts[:2])), Text(texts[2], style=STYLES.get(texts[2], "")), Text(" ".join(texts[3:]))
        )
