"""Pushed versions on an agent that did not build them."""

import base64
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec import json
from nacl.public import PrivateKey, SealedBox

from runners.settings import Settings
from schemas import subjects
from schemas.events import Failed, Started, Succeeded
from schemas.inputs import FILE_PREFIX, SEALED_PREFIX, Secret
from schemas.models import Heartbeat, RetiredVersions, decode_heartbeat
from tests.runners.conftest import FakeGateway, eventually, running_agent, text_of, worker_processes
from tests.runners.pushes import ECHO, store_archive, submit_prediction, write_folder

KEY = PrivateKey.generate()

CAT = """
from cog import Path, Secret

class Predictor:
    def predict(self, file: Path, token: Secret) -> str:
        return file.read_text() + token.get_secret_value()
"""

GATED = """
import os, time

class Predictor:
    def predict(self, gate: str) -> str:
        while not os.path.exists(gate):
            time.sleep(0.01)
        return "through"
"""

SHADOWING = """
import schemas, gateway.app

class Predictor:
    def predict(self) -> str:
        return schemas.A + gateway.app.B
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
async def agent(
    gateway: FakeGateway, nats_url: str, settings: Settings, files: Path, tmp_path: Path
) -> AsyncGenerator[FakeGateway]:
    changed = {"files_url": f"file://{files}", "cache_dir": str(tmp_path / "cache"), "models": ()}
    async with running_agent(settings, nats_url=nats_url, secrets_key=bytes(KEY).hex(), **changed):
        yield gateway


async def test_a_pushed_version_is_fetched_and_reported_as_ready(
    agent: FakeGateway, files: Path, tmp_path: Path
) -> None:
    heartbeats: list[Heartbeat] = []

    async def receive(msg: object) -> None:
        heartbeats.append(decode_heartbeat(msg.data))  # pyright: ignore[reportAttributeAccessIssue]

    await agent.nc.subscribe(subjects.HEARTBEATS, cb=receive)
    manifest = store_archive(files, write_folder(tmp_path / "m"))
    await submit_prediction(agent, manifest, "a" * 26, text="x")
    assert text_of(await agent.final("a" * 26)) == "pushed x"
    await eventually(lambda: heartbeats and heartbeats[-1].warm == [manifest.version])
    assert heartbeats[-1].versions == []


async def test_the_predictors_own_modules_win(agent: FakeGateway, files: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", code=SHADOWING, **{"schemas.py": "A = 'own '\n"})
    (folder / "gateway").mkdir()
    (folder / "gateway" / "__init__.py").touch()
    (folder / "gateway" / "app.py").write_text("B = 'modules'\n")
    await submit_prediction(agent, store_archive(files, folder), "a" * 26)
    assert text_of(await agent.final("a" * 26)) == "own modules"


async def test_secrets_and_uploads_reach_the_predictor(agent: FakeGateway, files: Path, tmp_path: Path) -> None:
    manifest = store_archive(files, write_folder(tmp_path / "m", code=CAT))
    (files / "up").mkdir()
    (files / "up" / "one").write_text("content and ")
    box = SealedBox(KEY.public_key).encrypt(json.encode(Secret("a" * 26, "secret")))
    token = SEALED_PREFIX + base64.b64encode(box).decode()
    await submit_prediction(agent, manifest, "a" * 26, file=f"{FILE_PREFIX}up/one", token=token)
    assert text_of(await agent.final("a" * 26)) == "content and secret"
    await submit_prediction(agent, manifest, "b" * 26, file=f"{FILE_PREFIX}up/one", token=token)
    final = await agent.final("b" * 26)
    assert isinstance(final, Failed)
    assert "sealed for another prediction" in final.error


async def test_jobs_of_an_unusable_version_fail_with_the_reason(
    agent: FakeGateway, files: Path, tmp_path: Path
) -> None:
    bad = store_archive(files, write_folder(tmp_path / "m", code="import nothing_of_that_name\n"))
    await submit_prediction(agent, bad, "a" * 26)
    final = await agent.final("a" * 26)
    assert isinstance(final, Failed)
    assert final.error.startswith("import: predict.py:1: ")


async def test_an_unavailable_version_is_tried_again(agent: FakeGateway, files: Path, tmp_path: Path) -> None:
    manifest = store_archive(files, write_folder(tmp_path / "m"))
    tar = files / f"packs/{manifest.pack}.tar"
    tar.rename(tmp_path / "away")
    await submit_prediction(agent, manifest, "a" * 26, text="late")
    cache = tmp_path / "cache" / "packs"
    await eventually(lambda: (cache / f"{manifest.pack}.lock").exists())
    (tmp_path / "away").rename(tar)
    assert text_of(await agent.final("a" * 26)) == "pushed late"


async def test_jobs_of_an_unknown_version_stay_in_the_queue(agent: FakeGateway, files: Path, tmp_path: Path) -> None:
    nobody = store_archive(tmp_path / "elsewhere", write_folder(tmp_path / "m"))
    ours = store_archive(files, write_folder(tmp_path / "m"), name="other")
    await submit_prediction(agent, nobody, "a" * 26, text="x")
    await submit_prediction(agent, ours, "b" * 26, text="x")
    assert isinstance(await agent.final("b" * 26), Succeeded)
    assert not agent.events_by_id.get("a" * 26)


async def test_a_deleted_version_finishes_its_runs_and_is_removed(
    agent: FakeGateway, files: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    manifest = store_archive(files, write_folder(tmp_path / "m", code=GATED))
    await submit_prediction(agent, manifest, "a" * 26, gate=str(gate))
    await agent.wait_until(lambda: agent.events("a" * 26, Started))
    (files / f"versions/{manifest.version}.json").unlink()
    await agent.nc.publish(subjects.RETIRED, json.encode(RetiredVersions(versions=[manifest.version, "0" * 64])))
    await agent.nc.flush()
    gate.touch()
    assert text_of(await agent.final("a" * 26)) == "through"
    await eventually(lambda: not worker_processes())
    folder = tmp_path / "cache" / "packs" / manifest.pack
    await eventually(lambda: not folder.exists())


async def test_the_cache_stays_within_its_limit(
    gateway: FakeGateway, nats_url: str, settings: Settings, files: Path, tmp_path: Path
) -> None:
    """What runs stays, whatever the limit."""
    first = store_archive(files, write_folder(tmp_path / "m"), name="first")
    second = store_archive(files, write_folder(tmp_path / "m", code=ECHO + "# second\n"), name="second")
    cache = tmp_path / "cache"
    changed = {"files_url": f"file://{files}", "cache_dir": str(cache), "models": (), "cache_bytes": 1}
    async with running_agent(settings, nats_url=nats_url, idle_timeout=0.2, **changed):
        await submit_prediction(gateway, first, "a" * 26, text="1")
        assert text_of(await gateway.final("a" * 26)) == "pushed 1"
        await eventually(lambda: not worker_processes())
        await submit_prediction(gateway, second, "b" * 26, text="2")
        assert text_of(await gateway.final("b" * 26)) == "pushed 2"
        await eventually(lambda: not (cache / "packs" / first.pack).exists())
        assert (cache / "packs" / second.pack).exists()
