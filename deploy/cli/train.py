"""`samovar train`: a training is begun, what it says is shown as it comes, and an interrupt cancels it."""

import sys
from functools import partial
from itertools import islice
from typing import Any

from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.client.inputs import inputs
from deploy.cli.commands.run import finished, sent
from deploy.cli.terminal.output import FINAL, Progress, pretty, table
from deploy.errors import Unusable


def train(api: Api, ref: str, destination: str, given: list[str], *, as_json: bool) -> int:
    """Returns the exit status."""
    named, target = references.read(api, ref), references.model(destination)
    found = api.get(named.path)
    version: dict[str, Any] = found if named.version else found.get("latest_version") or {}
    if not version:
        raise Unusable(f"{named}: it has no version yet")
    body = {
        "destination": target.name,
        "input": inputs(given, _trainable(str(named), version.get("openapi_schema") or {}), partial(sent, api)),
    }
    training = api.post(f"/v1/models/{named.name}/versions/{version['id']}/trainings", body)
    with Progress("waiting for a runner that trains") as progress:
        try:
            ended = _followed(api, training, progress)
        except KeyboardInterrupt:
            progress.stop()
            api.post(f"/v1/trainings/{training['id']}/cancel")
            _say(f"canceled {training['id']}")
            return 130
    return _told(ended, as_json=as_json)


def watch(api: Api, id: str, *, as_json: bool) -> int:
    """An interrupt leaves the training alone. Returns the exit status."""
    training = api.get(f"/v1/trainings/{id}")
    with Progress(training["status"]) as progress:
        ended = _followed(api, training, progress)
    return _told(ended, as_json=as_json)


def list_trainings(api: Api, *, limit: int, as_json: bool) -> None:
    found = list(islice(api.pages("/v1/trainings"), limit))
    if as_json:
        print(pretty(found))
        return
    rows = [
        (t["id"], t["model"], t["destination"], t["status"], t["created_at"], t.get("metrics", {}).get("predict_time"))
        for t in found
    ]
    table(("id", "model", "destination", "status", "created", "seconds"), rows)


def _trainable(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model as if its training were what is run."""
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    if "TrainingInput" not in schemas:
        raise Unusable(f"{name}: it cannot be trained, as its cog.yaml names no train")
    return {"components": {"schemas": {**schemas, "Input": schemas["TrainingInput"]}}}


def _followed(api: Api, training: dict[str, Any], progress: Progress) -> dict[str, Any]:
    for event in api.events(training["urls"]["stream"]):
        match event.kind:
            case "status":
                status = json.decode(event.data)["status"]
                progress.says("training" if status == "processing" else status)
            case "logs":
                progress.log(event.data)
            case _:
                pass
    return training if training["status"] in FINAL else finished(api, training, "trainings")


def _told(training: dict[str, Any], *, as_json: bool) -> int:
    """The version on stdout, how to call it on stderr; or why there is none."""
    if as_json:
        print(pretty(training))
    if training["status"] != "succeeded":
        _say(f"{training['status']}: {training.get('error') or 'no reason is known'}")
        return 1
    output: dict[str, str] = training.get("output") or {}
    version = output.get("version", "")
    if not as_json:
        print(version, flush=True)
    _say(f"call it: samovar run {version.partition(':')[0]}")
    return 0


def _say(text: str) -> None:
    print(f"samovar: {text}", file=sys.stderr, flush=True)
