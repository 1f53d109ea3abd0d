"""The command `samovar run`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api, connect
from deploy.cli.client.inputs import file_encoder, parse_inputs
from deploy.cli.client.models import ModelSchema, load_schema
from deploy.cli.client.output_files import save_files
from deploy.cli.client.predictions import FINAL, describe_failure, describe_status, wait_until_final
from deploy.cli.commands.options import LOCAL_URL, Inputs, JsonResult, OutputDir, Token, Url
from deploy.cli.terminal.output import ChunkPrinter, format_json, format_output, print_message
from deploy.cli.terminal.progress import Progress

CreatePrediction = Callable[[dict[str, Any]], dict[str, Any]]
"""Posts the body of a request, and returns the prediction that it created."""


def run(
    model: str,
    *,
    input: Inputs = (),
    output_dir: OutputDir = Path(),
    as_json: JsonResult = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> int:
    """Run a model, and print its output as it arrives. Ctrl-C cancels the prediction.

    Parameters
    ----------
    model
        owner/name, or owner/name:version.
    """
    with connect(url, token) as api:
        return run_model(api, model, input, output_dir=output_dir, as_json=as_json)


def run_model(api: Api, model: str, pairs: Sequence[str], *, output_dir: Path, as_json: bool) -> int:
    """Run `owner/name` or `owner/name:version` with inputs typed as `name=value`. Returns the exit status."""
    schema = load_schema(api, model)
    create = partial(_create_prediction, api, schema)
    return _run_prediction(api, schema, pairs, create, output_dir=output_dir, as_json=as_json)


def run_deployment(api: Api, name: str, pairs: Sequence[str], *, output_dir: Path, as_json: bool) -> int:
    """Run the deployment `owner/name` with inputs typed as `name=value`. Returns the exit status."""
    path = f"/v1/deployments/{references.parse_model(name).name}"
    release = api.get(path)["current_release"]
    schema = load_schema(api, f"{release['model']}:{release['version']}")
    create = partial(api.post, f"{path}/predictions")
    return _run_prediction(api, schema, pairs, create, output_dir=output_dir, as_json=as_json)


def _create_prediction(api: Api, schema: ModelSchema, body: dict[str, Any]) -> dict[str, Any]:
    """Create a prediction without waiting for it: canceling it needs its id."""
    if schema.version:
        return api.post("/v1/predictions", {"version": f"{schema.name}:{schema.version}", **body})
    return api.post(f"/v1/models/{schema.name}/predictions", body)


def _run_prediction(
    api: Api, schema: ModelSchema, pairs: Sequence[str], create: CreatePrediction, *, output_dir: Path, as_json: bool
) -> int:
    body = {"input": parse_inputs(pairs, schema.document, file_encoder(api))}
    with Progress("starting") as progress:
        prediction = create(body)
        try:
            print_chunks = schema.is_iterator and not schema.has_files and not as_json
            has_printed = _follow(api, prediction, schema, progress, print_chunks=print_chunks)
            prediction = wait_until_final(api, "predictions", prediction["id"], progress.update)
        except KeyboardInterrupt:
            progress.stop()
            api.post(f"/v1/predictions/{prediction['id']}/cancel")
            print_message(f"canceled {prediction['id']}")
            return 130
    if as_json:
        print(format_json(prediction))
    if prediction["status"] != "succeeded":
        print_message(describe_failure(prediction))
        return 1
    if not as_json and schema.has_files:
        for path in save_files(api, prediction, output_dir):
            print(path)
    elif not as_json and not has_printed:
        print(format_output(prediction["output"]))
    return 0


def _follow(
    api: Api, prediction: dict[str, Any], schema: ModelSchema, progress: Progress, *, print_chunks: bool
) -> bool:
    """Show the events of a prediction until it ends. Returns whether the output has been printed."""
    url = prediction["urls"].get("stream")
    if not url or prediction["status"] in FINAL:
        return False
    printer = ChunkPrinter(is_text=schema.is_text, enabled=print_chunks)
    for event in api.stream_events(url):
        match event.kind:
            case "status":
                progress.update(describe_status(json.decode(event.data)))
            case "logs":
                progress.print_log(event.data)
            case "output" if printer.enabled:
                progress.stop()
                printer.add(event.data)
            case "restarted":
                printer.restart()
            case _:
                pass
    printer.finish()
    return printer.enabled
