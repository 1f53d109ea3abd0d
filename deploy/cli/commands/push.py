"""`samovar push`: a folder is packed and sent, what its build says is shown as it comes, an interrupt cancels it."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from msgspec import Struct, json

from deploy.cli.checking import checked
from deploy.cli.client import references
from deploy.cli.client.api import Api, Refused
from deploy.cli.client.references import Reference
from deploy.cli.commands.run import finished
from deploy.cli.terminal.output import FINAL, Progress, Transfer, pretty
from runners.versions import archive, cog_yaml
from schemas.models import version_id

IN_MEMORY: Final = 16_000_000  # bytes of an archive; a larger one goes to a temporary file
PIECE: Final = 1 << 18
MEDIA_TYPE: Final = "application/x-tar"


class Pushed(Struct, frozen=True):
    """What became of a push."""

    model: str
    """owner/name"""
    version: str
    push: dict[str, Any] | None
    """As the API has it at the end; None: the version had been there before."""

    @property
    def good(self) -> bool:
        return self.push is None or self.push["status"] == "succeeded"


def wishes(max_batch_size: int | None, max_batch_wait_ms: float | None) -> dict[str, str]:
    """What the operator says of batches, as a model's environment says it."""
    said = {"SAMOVAR_MAX_BATCH_SIZE": max_batch_size, "SAMOVAR_MAX_BATCH_WAIT_MS": max_batch_wait_ms}
    return {name: f"{value:g}" for name, value in said.items() if value is not None}


def push(api: Api, folder: Path, ref: str, wanted: Mapping[str, str], *, as_json: bool) -> int:
    """`wanted` is added to the environment in its cog.yaml. Returns the exit status."""
    model = references.model(ref)
    pushed = once(api, folder, model, wanted)
    if pushed is None:
        return 130
    tell(api, pushed, as_json=as_json)
    return 0 if pushed.good else 1


def once(api: Api, folder: Path, model: Reference, wanted: Mapping[str, str]) -> Pushed | None:
    """To its end; None when it was interrupted."""
    local = checked(folder, model.name)
    instead, version = dict[str, bytes](), local.version
    if wanted:
        text = (local.path / cog_yaml.FILE).read_text()
        instead[cog_yaml.FILE] = cog_yaml.with_environment(text, wanted).encode()
        version = version_id(local.owner, local.name, archive.digest(local.path, instead=instead).digest)
    if not is_there(api, model, version):
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            file = cast("BinaryIO", spool)
            pack = archive.write(local.path, file, instead=instead)
            version = version_id(local.owner, local.name, pack.digest)  # of what is sent, should a file have changed
            answer = _sent(api, model, file, pack)
        if "urls" in answer:
            return _followed(api, model, version, answer)
    return Pushed(model.name, version, None)


def is_there(api: Api, model: Reference, version: str) -> bool:
    try:
        api.get(f"{model.path}/versions/{version}")
    except Refused as error:
        if error.status != 404:
            raise
        return False
    return True


def tell(api: Api, pushed: Pushed, *, as_json: bool) -> None:
    """The version on stdout, how to call it on stderr; or why there is none."""
    push = pushed.push
    if as_json:
        there = {"id": None, "model": pushed.model, "version": pushed.version, "status": "succeeded"}
        print(pretty(push or there), flush=True)
    if push is not None and not pushed.good:
        _say(f"{push['status']}: {push.get('error') or 'no reason is known'}")
        _say(_remaining(api, pushed.model))
        return
    if not as_json:
        print(f"{pushed.model}:{pushed.version}", flush=True)
    if push is None:
        _say("this version is there already; nothing was uploaded")
    _say(f"call it: {_call(api, pushed)}")


def _sent(api: Api, model: Reference, file: BinaryIO, pack: archive.Pack) -> dict[str, Any]:
    """The answer: a push under way, or a version that has come into being meanwhile."""
    file.seek(0)
    with Transfer(f"uploading {pack.files} files", pack.size) as transfer:
        _, answer = api.send(
            f"{model.path}/versions",
            transfer.passing(_pieces(file)),
            size=pack.size,
            media_type=MEDIA_TYPE,
            digest=pack.digest,
        )
    return answer


def _followed(api: Api, model: Reference, version: str, push: dict[str, Any]) -> Pushed | None:
    with Progress("waiting for a runner that builds") as progress:
        try:
            if push["status"] not in FINAL:
                _show(api, push, progress)
            return Pushed(model.name, version, finished(api, push, "pushes"))
        except KeyboardInterrupt:
            progress.stop()
            api.post(f"/v1/pushes/{push['id']}/cancel")
            _say(f"canceled {push['id']}")
            return None


def _show(api: Api, push: dict[str, Any], progress: Progress) -> None:
    for event in api.events(push["urls"]["stream"]):
        match event.kind:
            case "status":
                status = json.decode(event.data)["status"]
                progress.says("building" if status == "processing" else status)
            case "logs":
                progress.log(event.data)
            case _:
                pass


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _call(api: Api, pushed: Pushed) -> str:
    """With every input that has to be given."""
    version = api.get(f"/v1/models/{pushed.model}/versions/{pushed.version}")
    wanted = version.get("openapi_schema", {}).get("components", {}).get("schemas", {}).get("Input", {})
    properties: dict[str, dict[str, Any]] = wanted.get("properties", {})
    given = [f" -i {name}={'@FILE' if _file(properties.get(name, {})) else '…'}" for name in wanted.get("required", ())]
    return f"samovar run {pushed.model}{''.join(given)}"


def _file(schema: dict[str, Any]) -> bool:
    return "uri" in (schema.get("format"), schema.get("items", {}).get("format"))


def _remaining(api: Api, model: str) -> str:
    """What answers calls in spite of the failure."""
    try:
        latest: dict[str, Any] = api.get(f"/v1/models/{model}").get("latest_version") or {}
    except Refused:
        latest = {}
    if not latest:
        return f"{model} has no version that can be run yet"
    return f"{model} goes on serving its last good version, {latest['id'][:12]}"


def _say(text: str) -> None:
    print(f"samovar: {text}", file=sys.stderr, flush=True)
