"""A push of a model's folder: packed, uploaded, and followed until its build ends."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from msgspec import Struct, json

from deploy.cli.client.api import Api, RequestRefused
from deploy.cli.client.models import takes_file
from deploy.cli.client.predictions import FINAL, describe_failure, wait_until_final
from deploy.cli.client.references import Reference
from deploy.cli.folder.changes import watch_changes
from deploy.cli.folder.check import check_folder
from deploy.cli.terminal.output import format_json, print_message
from deploy.cli.terminal.progress import Progress, UploadProgress
from deploy.errors import DeployError
from runners.versions import archive, cog_yaml
from schemas.models import version_id

MAX_ARCHIVE_BYTES_IN_MEMORY: Final = 16_000_000  # a larger one goes to a temporary file
PIECE_BYTES: Final = 1 << 18
MEDIA_TYPE: Final = "application/x-tar"
INTERRUPTED: Final = 130  # exit status


class PushSource(Struct, frozen=True):
    """A folder to push, and the model that gets the version."""

    folder: Path
    model: Reference
    environment: Mapping[str, str]
    """Variables to add to the environment in its cog.yaml."""


class PushResult(Struct, frozen=True):
    """The end of a push."""

    model: str
    """owner/name"""
    version: str
    push: dict[str, Any] | None
    """The push as the API has it at the end; None: the version existed before."""

    @property
    def is_good(self) -> bool:
        """Whether the version can be run."""
        return self.push is None or self.push["status"] == "succeeded"

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


def push_once(api: Api, source: PushSource, *, as_json: bool) -> int:
    """Push a folder and print the result. Returns the exit status. Raises `DeployError`."""
    result = _push(api, source)
    if result is None:
        return INTERRUPTED
    _print_result(api, result, as_json=as_json)
    return 0 if result.is_good else 1


def push_changes(api: Api, source: PushSource, run_version: Callable[[str], int] | None, *, as_json: bool) -> int:
    """Push a folder now and after each change, until an interrupt. Returns the exit status.

    `run_version` runs each version that was built, and returns its exit status.
    """
    try:
        for changed_files in watch_changes(source.folder.expanduser()):
            if changed_files:
                print_message(f"changed: {changed_files}")
            try:
                result = _push(api, source)
                if result is None:
                    return INTERRUPTED
                _print_result(api, result, as_json=as_json)
                if result.is_good and run_version and run_version(str(result)) == INTERRUPTED:
                    return INTERRUPTED
            except DeployError as error:
                print_message(str(error))
            print_message(f"watching {source.folder}; press Ctrl-C to stop")
    except KeyboardInterrupt:
        pass
    return INTERRUPTED


def _push(api: Api, source: PushSource) -> PushResult | None:
    """Push a folder and wait until the push ends; None after an interrupt. Raises `DeployError`."""
    model = source.model
    model_folder = check_folder(source.folder, model.name)
    replacements, version = dict[str, bytes](), model_folder.version
    if source.environment:
        text = (model_folder.path / cog_yaml.FILE_NAME).read_text()
        replacements[cog_yaml.FILE_NAME] = cog_yaml.add_environment(text, source.environment).encode()
        digest = archive.describe(model_folder.path, replacements=replacements).digest
        version = version_id(model_folder.owner, model_folder.name, digest)
    if not _version_exists(api, model, version):
        with tempfile.SpooledTemporaryFile(max_size=MAX_ARCHIVE_BYTES_IN_MEMORY) as spool:
            file = cast("BinaryIO", spool)
            info = archive.write(model_folder.path, file, replacements=replacements)
            # Of what is sent, should a file have changed.
            version = version_id(model_folder.owner, model_folder.name, info.digest)
            response = _upload(api, model, file, info)
        if "urls" in response:
            return _follow(api, model, version, response)
    return PushResult(model.name, version, None)


def _version_exists(api: Api, model: Reference, version: str) -> bool:
    try:
        api.get(f"{model.path}/versions/{version}")
    except RequestRefused as error:
        if error.status != 404:
            raise
        return False
    return True


def _upload(api: Api, model: Reference, file: BinaryIO, info: archive.ArchiveInfo) -> dict[str, Any]:
    """Upload an archive, and return a push under way, or a version that has come into being meanwhile."""
    file.seek(0)
    with UploadProgress(f"uploading {info.files} files", info.size) as progress:
        return api.post_stream(
            f"{model.path}/versions",
            progress.track(_read_pieces(file)),
            size=info.size,
            media_type=MEDIA_TYPE,
            digest=info.digest,
        )


def _read_pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _follow(api: Api, model: Reference, version: str, push: dict[str, Any]) -> PushResult | None:
    """Show the build until it ends; an interrupt cancels it and returns None."""
    with Progress("waiting for a runner that builds") as progress:
        try:
            if push["status"] not in FINAL:
                _show_events(api, push, progress)
            return PushResult(model.name, version, wait_until_final(api, "pushes", push["id"]))
        except KeyboardInterrupt:
            progress.stop()
            api.post(f"/v1/pushes/{push['id']}/cancel")
            print_message(f"canceled {push['id']}")
            return None


def _show_events(api: Api, push: dict[str, Any], progress: Progress) -> None:
    for event in api.stream_events(push["urls"]["stream"]):
        match event.kind:
            case "status":
                status = json.decode(event.data)["status"]
                progress.update("building" if status == "processing" else status)
            case "logs":
                progress.print_log(event.data)
            case _:
                pass


def _print_result(api: Api, result: PushResult, *, as_json: bool) -> None:
    """Print the version on stdout, and how to run it or why the push failed on stderr."""
    push = result.push
    if as_json:
        existing = {"id": None, "model": result.model, "version": result.version, "status": "succeeded"}
        print(format_json(push or existing), flush=True)
    if push is not None and not result.is_good:
        print_message(describe_failure(push))
        print_message(_remaining_version(api, result.model))
        return
    if not as_json:
        print(result, flush=True)
    if push is None:
        print_message("this version exists already; nothing was uploaded")
    print_message(f"run it: {_example_command(api, result)}")


def _example_command(api: Api, result: PushResult) -> str:
    """Return the command that runs the model, with every required input."""
    version = api.get(f"/v1/models/{result.model}/versions/{result.version}")
    input_schema = version.get("openapi_schema", {}).get("components", {}).get("schemas", {}).get("Input", {})
    properties: dict[str, dict[str, Any]] = input_schema.get("properties", {})
    inputs = [
        f" -i {name}={'@FILE' if takes_file(properties.get(name, {})) else '…'}"
        for name in input_schema.get("required", ())
    ]
    return f"samovar run {result.model}{''.join(inputs)}"


def _remaining_version(api: Api, model: str) -> str:
    """Return which version answers calls in spite of the failure."""
    try:
        latest: dict[str, Any] = api.get(f"/v1/models/{model}").get("latest_version") or {}
    except RequestRefused:
        latest = {}
    if not latest:
        return f"{model} has no version that can be run yet"
    return f"{model} goes on serving its last good version, {latest['id'][:12]}"
