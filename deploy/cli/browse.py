"""`samovar predictions …` and `samovar models …`."""

import sys
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.client.inputs import resolved
from deploy.cli.commands.run import Output, described, finished, standing
from deploy.cli.terminal.output import Progress, pretty, table
from deploy.errors import Unusable


def list_predictions(api: Api, *, limit: int, source: str | None, since: str | None, as_json: bool) -> None:
    wanted = {name: value for name, value in (("source", source), ("created_after", since)) if value}
    path = "/v1/predictions" + (f"?{urlencode(wanted)}" if wanted else "")
    found = list(islice(api.pages(path), limit))
    if as_json:
        print(pretty(found))
        return
    rows = [(p["id"], p["model"], p["status"], p["created_at"], _seconds(p)) for p in found]
    table(("id", "model", "status", "created", "seconds"), rows)


def list_models(api: Api, *, as_json: bool) -> None:
    found = list(api.pages("/v1/models"))
    if as_json:
        print(pretty(found))
        return
    rows = [(f"{m['owner']}/{m['name']}", m["run_count"], m["description"]) for m in found]
    table(("model", "runs", "description"), rows)


def show(api: Api, path: str) -> None:
    print(pretty(api.get(path)))


def show_model(api: Api, ref: str, *, as_json: bool) -> None:
    """Its description, and a line for each input."""
    named = references.read(api, ref)
    found = api.get(named.path)
    if as_json:
        print(pretty(found))
        return
    if sys.stdout.isatty():
        print(f"{named}: {found.get('description') or 'no description'}\n" if not named.version else f"{named}\n")
        if labels := _labels(found):
            print(f"labels: {labels}\n")
    table(("input", "type", "default", "description"), _inputs(described(named, found).document))


def list_versions(api: Api, ref: str, *, as_json: bool) -> None:
    """The one that answers calls without a version is marked."""
    named = references.model(ref)
    found = list(api.pages(f"{named.path}/versions"))
    if as_json:
        print(pretty(found))
        return
    latest: dict[str, Any] = api.get(named.path).get("latest_version") or {}
    rows = [(v["id"], v["created_at"], "latest" if v["id"] == latest.get("id") else "") for v in found]
    table(("version", "created", ""), rows)


def show_logs(api: Api, ref: str) -> None:
    """Of the version that answers, unless one is named."""
    named = references.read(api, ref)
    if not named.version:
        latest: dict[str, Any] = api.get(named.path).get("latest_version") or {}
        if not latest:
            raise Unusable(f"{ref}: it has no version yet")
        named = references.Reference(named.name, latest["id"])
    sys.stdout.write(api.text(f"{named.path}/logs"))


def watch(api: Api, id: str, *, as_json: bool) -> int:
    """Events as they come; a line of JSON each with `--json`. Returns the exit status."""
    prediction = api.get(f"/v1/predictions/{id}")
    url = prediction["urls"].get("stream")
    if not url:
        raise Unusable(f"prediction {id} has no stream, as its model's output comes in one piece")
    output = Output(joined=False, show=not as_json)
    with Progress("") as progress:
        for event in api.events(url):
            if as_json:
                print(json.encode({"event": event.kind, "id": event.id, "data": event.data}).decode(), flush=True)
                continue
            match event.kind:
                case "status":
                    progress.says(standing(json.decode(event.data)))
                case "logs":
                    progress.log(event.data)
                case "output" if output.show:
                    output.add(event.data)
                case "restarted":
                    output.again()
                case _:
                    pass
    ended = finished(api, prediction)
    if ended["status"] == "succeeded":
        return 0
    print(f"samovar: {ended['status']}: {ended.get('error') or 'no reason is known'}", file=sys.stderr)
    return 1


def _labels(found: dict[str, Any]) -> str:
    """Of a version, or of a model's latest."""
    labels: dict[str, str] = (found.get("latest_version") or found).get("labels") or {}
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _seconds(prediction: dict[str, Any]) -> object:
    metrics: dict[str, object] = prediction.get("metrics") or {}
    return metrics.get("total_time")


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    found = resolved(schema, schemas)
    if "enum" in found:
        return " | ".join(map(str, found["enum"]))
    return "file" if found.get("format") == "uri" else str(found.get("type", "any"))


def _inputs(document: dict[str, Any]) -> list[tuple[object, ...]]:
    """A row for each, in the predictor's order."""
    schemas = document.get("components", {}).get("schemas", {})
    wanted = schemas.get("Input", {})
    return [
        (
            name,
            _kind(schema, schemas),
            "required" if name in wanted.get("required", ()) else json.encode(schema.get("default")).decode(),
            schema.get("description"),
        )
        for name, schema in sorted(wanted.get("properties", {}).items(), key=lambda item: item[1].get("x-order", 0))
    ]
