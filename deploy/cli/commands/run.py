"""`samovar run`: a prediction is made, what it says is shown as it comes, and an interrupt cancels it."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import json

from deploy.cli.client import references
from deploy.cli.client.api import Api, Refused
from deploy.cli.client.inputs import Schema, data_uri, inputs, resolved
from deploy.cli.client.references import Reference
from deploy.cli.terminal.output import FINAL, Progress, pretty
from deploy.errors import DeployError

ITERATOR: Final = "x-cog-array-type"
INLINE: Final = 256_000  # bytes of a file that travels in the request itself


class Failed(DeployError):
    """The prediction did not succeed."""


class Model:
    """What of a model's version matters for running it."""

    def __init__(self, ref: str, document: dict[str, Any], version: str | None) -> None:
        self.ref = ref
        self.document = document
        self.version = version
        schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
        self.output: Schema = resolved(schemas.get("Output", {}), schemas)

    @property
    def streams(self) -> bool:
        return ITERATOR in self.output

    @property
    def text(self) -> bool:
        """Its chunks join up as prose."""
        return self.output.get("x-cog-array-display") == "concatenate"

    @property
    def files(self) -> bool:
        return "uri" in (self.output.get("format"), self.output.get("items", {}).get("format"))


def find(api: Api, ref: str) -> Model:
    """`owner/name`, or `owner/name:version`."""
    named = references.read(api, ref)
    return described(named, api.get(named.path))


def described(named: Reference, found: dict[str, Any]) -> Model:
    """By what the API tells of a model, or of one of its versions."""
    version: dict[str, Any] = found if named.version else found.get("latest_version") or {}
    return Model(named.name, version.get("openapi_schema") or {}, named.version)


def run(api: Api, ref: str, given: list[str], *, output_dir: Path, as_json: bool) -> int:
    """Returns the exit status."""
    return run_model(api, find(api, ref), given, output_dir=output_dir, as_json=as_json)


def run_deployed(api: Api, name: str, given: list[str], *, output_dir: Path, as_json: bool) -> int:
    """The same through a deployment."""
    path = f"/v1/deployments/{references.model(name).name}"
    release = api.get(path)["current_release"]
    model = find(api, f"{release['model']}:{release['version']}")
    create = partial(api.post, f"{path}/predictions")
    return run_model(api, model, given, output_dir=output_dir, as_json=as_json, create=create)


def run_model(
    api: Api,
    model: Model,
    given: list[str],
    *,
    output_dir: Path,
    as_json: bool,
    create: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> int:
    """`create` makes the prediction; by default it is one of the model."""
    body = {"input": inputs(given, model.document, partial(sent, api))}
    with Progress("starting") as progress:
        prediction = create(body) if create else _create(api, model, body)
        try:
            show = not as_json and not model.files
            printed = follow(api, prediction, model, progress, show=show)
            prediction = finished(api, prediction, progress=progress)
        except KeyboardInterrupt:
            progress.stop()
            api.post(f"/v1/predictions/{prediction['id']}/cancel")
            print(f"samovar: canceled {prediction['id']}", file=sys.stderr)
            return 130
    if as_json:
        print(pretty(prediction))
    if prediction["status"] != "succeeded":
        print(f"samovar: {prediction['status']}: {prediction.get('error') or 'no reason is known'}", file=sys.stderr)
        return 1
    if not as_json and model.files:
        save(api, prediction, output_dir)
    elif not as_json and not printed:
        print(plain(prediction["output"]))
    return 0


def sent(api: Api, path: Path, media_type: str) -> str:
    """A local file as an input: large ones are uploaded, where the gateway takes uploads."""
    if path.stat().st_size > INLINE:
        try:
            return api.upload(path, media_type)
        except Refused as error:
            if error.status != 404:
                raise
    return data_uri(path, media_type)


def follow(api: Api, prediction: dict[str, Any], model: Model, progress: Progress, *, show: bool) -> bool:
    """Until it ends; whether its output has been printed on the way."""
    url = prediction["urls"].get("stream")
    if not url or prediction["status"] in FINAL:
        return False
    output = Output(joined=model.text, show=show and model.streams)
    for event in api.events(url):
        match event.kind:
            case "status":
                progress.says(standing(json.decode(event.data)))
            case "logs":
                progress.log(event.data)
            case "output" if output.show:
                progress.stop()
                output.add(event.data)
            case "restarted":
                output.again()
            case _:
                pass
    output.end()
    return output.show


class Output:
    """Prints chunks as they come. Those of a repeated run that have been printed are passed over."""

    def __init__(self, *, joined: bool, show: bool) -> None:
        self.show = show
        self._end = "" if joined else "\n"
        self._printed: list[str] = []
        self._place = 0

    def add(self, chunk: str) -> None:
        if self._printed[self._place : self._place + 1] != [chunk]:
            if self._place < len(self._printed):
                print("\nsamovar: the model was started over, and says something else now:", file=sys.stderr)
            self._printed[self._place :] = [chunk]
            print(chunk, end=self._end, flush=True)
        self._place += 1

    def again(self) -> None:
        self._place = 0

    def end(self) -> None:
        if self.show and not self._end:
            print(flush=True)


def standing(told: dict[str, Any]) -> str:
    """The status that a prediction or an event tells; while it is starting, with the reason."""
    reason = told.get("reason") or told.get("starting")
    return f"{told['status']}: {reason}" if reason else told["status"]


def finished(
    api: Api, prediction: dict[str, Any], kind: str = "predictions", progress: Progress | None = None
) -> dict[str, Any]:
    """As the record has it at the end; a push is followed in the same way."""
    pause = 0.05
    while True:
        found = api.get(f"/v1/{kind}/{prediction['id']}")
        if found["status"] in FINAL:
            return found
        if progress:
            progress.says(standing(found))
        # Only an output that cannot be streamed is asked for, as the API has no other way to it.
        time.sleep(pause)
        pause = min(pause * 2, 2)


def save(api: Api, prediction: dict[str, Any], folder: Path) -> None:
    """Each file under its name, with the prediction's id where that name is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    for url in urls(prediction["output"]):
        path = unused(folder, prediction["id"], Path(unquote(urlsplit(url).path)).name or "output")
        api.save(url, path)
        print(path)


def urls(output: Any) -> Iterator[str]:
    if isinstance(output, str) and output.startswith(("http://", "https://")):
        yield output
    elif isinstance(output, list | dict):
        for each in output.values() if isinstance(output, dict) else output:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            yield from urls(each)


def plain(output: Any) -> str:
    return output if isinstance(output, str) else pretty(output)


def unused(folder: Path, id: str, name: str) -> Path:
    return next(path for path in _alternatives(folder, id, name) if not path.exists())


def _alternatives(folder: Path, id: str, name: str) -> Iterator[Path]:
    yield folder / name
    yield folder / f"{id}-{name}"
    number = 2
    while True:
        yield folder / f"{id}-{number}-{name}"
        number += 1


def _create(api: Api, model: Model, body: dict[str, Any]) -> dict[str, Any]:
    """Not waited for: its id has to be known for canceling it."""
    if model.version:
        return api.post("/v1/predictions", {"version": f"{model.ref}:{model.version}", **body})
    return api.post(f"/v1/models/{model.ref}/predictions", body)
