"""The part of a gateway that takes pushes: archives and manifests into the file store, jobs of kind `build`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Raw, json

from runners.versions import archive
from schemas import keys, subjects
from schemas.events import Failed, Log, Succeeded
from schemas.jobs import Job
from schemas.models import Built, Manifest, decode_built
from tests.runners.conftest import Front

ECHO = """
class Predictor:
    def setup(self):
        print("setting up")

    def predict(self, text: str) -> str:
        return "pushed " + text
"""


def folder_of(path: Path, code: str = ECHO, config: str = "", **files: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "cog.yaml").write_text(f'predict: "predict.py:Predictor"\n{config}')
    (path / "predict.py").write_text(code)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def put(store: Path, folder: Path, owner: str = "ann", name: str = "pushed") -> Manifest:
    """As a gateway keeps a push."""
    new = store / "new.tar"
    new.parent.mkdir(parents=True, exist_ok=True)
    with new.open("wb") as out:
        pack = archive.write(folder, out)
    manifest = Manifest(owner=owner, name=name, pack=pack.digest, size=pack.size)
    for key in (keys.pack(pack.digest), keys.manifest(manifest.version)):
        (store / key).parent.mkdir(parents=True, exist_ok=True)
    new.rename(store / keys.pack(pack.digest))
    (store / keys.manifest(manifest.version)).write_bytes(json.encode(manifest))
    return manifest


async def build(front: Front, manifest: Manifest, id: str) -> Job:
    model = f"{manifest.owner}/{manifest.name}"
    job = Job(id=id, kind="build", model=model, version=manifest.version, created_at=datetime.now(UTC))
    await front.nc.jetstream().publish(subjects.builds("default"), json.encode(job), headers={"Nats-Msg-Id": f"{id}:1"})
    return job


async def predict(front: Front, manifest: Manifest, id: str, **input: Any) -> Job:
    model = f"{manifest.owner}/{manifest.name}"
    job = Job(id=id, model=model, version=manifest.version, input=Raw(json.encode(input)), created_at=datetime.now(UTC))
    await front.put(job)
    await front.wake(job)
    return job


async def built(front: Front, id: str) -> Built:
    final = await front.final(id, within=60)
    assert isinstance(final, Succeeded), final
    return decode_built(bytes(final.values[0]))


async def failed(front: Front, id: str) -> Failed:
    final = await front.final(id, within=60)
    assert isinstance(final, Failed), final
    return final


def log_of(front: Front, id: str) -> str:
    return "".join(event.text for event in front.events(id, Log)) + front.finals(id)[0].log
