"""The commands `samovar train` and `samovar trainings …`."""

from itertools import islice
from typing import Any, Final

from cyclopts import App
from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api, connect
from deploy.cli.client.inputs import file_encoder, parse_inputs
from deploy.cli.client.predictions import FINAL, describe_failure, wait_until_final
from deploy.cli.client.references import Reference
from deploy.cli.commands.options import LOCAL_URL, Inputs, Json, JsonResult, Limit, Token, Url
from deploy.cli.terminal.output import Cells, Item, format_json, print_items, print_message
from deploy.cli.terminal.progress import Progress
from deploy.errors import UsageError

trainings: Final = App(name="trainings")

COLUMNS: Final = ("id", "model", "destination", "status", "created", "seconds")


def train(
    model: str,
    *,
    destination: str,
    input: Inputs = (),
    as_json: JsonResult = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> int:
    """Train a model, show its log, and print the version that it makes. Ctrl-C cancels the training.

    Parameters
    ----------
    model
        The model to train: owner/name, or owner/name:version.
    destination
        The model that gets the new version: owner/name. It has to exist.
    """
    with connect(url, token) as api:
        reference, target = references.resolve_model(api, model), references.parse_model(destination)
        version = _load_version(api, reference)
        schema = _training_schema(reference, version.get("openapi_schema") or {})
        body = {"destination": target.name, "input": parse_inputs(input, schema, file_encoder(api))}
        training = api.post(f"/v1/models/{reference.name}/versions/{version['id']}/trainings", body)
        with Progress("waiting for a runner that trains") as progress:
            try:
                training = _follow(api, training, progress)
            except KeyboardInterrupt:
                progress.stop()
                api.post(f"/v1/trainings/{training['id']}/cancel")
                print_message(f"canceled {training['id']}")
                return 130
    return _report(training, as_json=as_json)


@trainings.command(name="list")
def list_trainings(*, limit: Limit = 100, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List the newest trainings: id, model, destination, status, when it was created, how many seconds it took."""
    with connect(url, token) as api:
        page = list(islice(api.list_items("/v1/trainings"), limit))
        print_items(page, COLUMNS, _training_cells, as_json=as_json)


@trainings.command(name="show")
def show_training(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show a training as JSON."""
    with connect(url, token) as api:
        print(format_json(api.get(f"/v1/trainings/{id}")))


@trainings.command(name="cancel")
def cancel_training(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Cancel a training."""
    with connect(url, token) as api:
        print(api.post(f"/v1/trainings/{id}/cancel")["status"])


@trainings.command(name="watch")
def watch_training(id: str, *, as_json: JsonResult = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Follow a training from its beginning: status and log as they arrive. Ctrl-C leaves it running."""
    with connect(url, token) as api:
        training = api.get(f"/v1/trainings/{id}")
        with Progress(training["status"]) as progress:
            training = _follow(api, training, progress)
    return _report(training, as_json=as_json)


def _load_version(api: Api, reference: Reference) -> dict[str, Any]:
    return api.get(reference.path) if reference.version else references.latest_version(api, reference)


def _training_schema(reference: Reference, document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model with the inputs of its training in place of those of its predictions."""
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    if "TrainingInput" not in schemas:
        raise UsageError(f"{reference}: this model cannot be trained, as its cog.yaml has no `train`")
    return {"components": {"schemas": {**schemas, "Input": schemas["TrainingInput"]}}}


def _follow(api: Api, training: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Show the status and the log of a training until it ends, and return it."""
    for event in api.stream_events(training["urls"]["stream"]):
        match event.kind:
            case "status":
                status = json.decode(event.data)["status"]
                progress.update("training" if status == "processing" else status)
            case "logs":
                progress.print_log(event.data)
            case _:
                pass
    return training if training["status"] in FINAL else wait_until_final(api, "trainings", training["id"])


def _report(training: dict[str, Any], *, as_json: bool) -> int:
    """Print the new version on stdout, and how to run it or why it failed on stderr. Returns the exit status."""
    if as_json:
        print(format_json(training))
    if training["status"] != "succeeded":
        print_message(describe_failure(training))
        return 1
    output: dict[str, str] = training.get("output") or {}
    version = output.get("version", "")
    if not as_json:
        print(version, flush=True)
    print_message(f"run it: samovar run {version.partition(':')[0]}")
    return 0


def _training_cells(training: Item) -> Cells:
    names = training["id"], training["model"], training["destination"]
    return *names, training["status"], training["created_at"], training.get("metrics", {}).get("predict_time")
