"""Pushes, as a gateway handles them: archives and manifests in the file store, jobs of kind `build`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Raw, json

from runners.versions import archive
from schemas import keys, subjects
from schemas.events import Failed, Log, Succeeded
from schemas.jobs import Job
from schemas.models import BuildResult, Manifest, decode_build_result
from tests.runners.conftest import FakeGateway

ECHO = """
class Predictor:
    def setup(self):
        print("setting up")

    def predict(self, text: str) -> str:
        return "pushed " + text
"""


def write_folder(path: Path, code: str = ECHO, config: str = "", **files: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "cog.yaml").write_text(f'predict: "predict.py:Predictor"\n{config}')
    (path / "predict.py").write_text(code)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def store_archive(store: Path, folder: Path, owner: str = "ann", name: str = "pushed") -> Manifest:
    """Store a folder's archive and manifest."""
    new = store / "new.tar"
    new.parent.mkdir(parents=True, exist_ok=True)
    with new.open("wb") as out:
        info = archive.write(folder, out)
    manifest = Manifest(owner=owner, name=name, pack=info.digest, size=info.size)
    for key in (keys.archive(info.digest), keys.manifest(manifest.version)):
        (store / key).parent.mkdir(parents=True, exist_ok=True)
    new.rename(store / keys.archive(info.digest))
    (store / keys.manifest(manifest.version)).write_bytes(json.encode(manifest))
    return manifest


async def submit_build(gateway: FakeGateway, manifest: Manifest, id: str) -> Job:
    model = f"{manifest.owner}/{manifest.name}"
    job = Job(id=id, kind="build", model=model, version=manifest.version, created_at=datetime.now(UTC))
    await gateway.nc.jetstream().publish(
        subjects.builds("default"), json.encode(job), headers={"Nats-Msg-Id": f"{id}:1"}
    )
    return job


async def submit_prediction(gateway: FakeGateway, manifest: Manifest, id: str, **input: Any) -> Job:
    model = f"{manifest.owner}/{manifest.name}"
    job = Job(id=id, model=model, version=manifest.version, input=Raw(json.encode(input)), created_at=datetime.now(UTC))
    await gateway.put(job)
    await gateway.wake(job)
    return job


async def wait_built(gateway: FakeGateway, id: str) -> BuildResult:
    final = await gateway.final(id, within=60)
    assert isinstance(final, Succeeded), final
    return decode_build_result(bytes(final.values[0]))


async def wait_failed(gateway: FakeGateway, id: str) -> Failed:
    final = await gateway.final(id, within=60)
    assert isinstance(final, Failed), final
    return final


def log_of(gateway: FakeGateway, id: str) -> str:
    return "".join(event.text for event in gateway.events(id, Log)) + gateway.finals(id)[0].log
