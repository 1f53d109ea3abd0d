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
from schemas.inputs import FILE, SEALED, Secret
from schemas.models import Presence, Retired, decode_presence
from tests.runners.conftest import Front, eventually, running, text_of, workers
from tests.runners.pushing import ECHO, folder_of, predict, put

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
async def agent(front: Front, nats_url: str, settings: Settings, files: Path, tmp_path: Path) -> AsyncGenerator[Front]:
    changed = {"files_url": f"file://{files}", "cache_dir": str(tmp_path / "cache"), "models": ()}
    async with running(settings, nats_url=nats_url, secrets_key=bytes(KEY).hex(), **changed):
        yield front


async def test_a_pushed_version_is_fetched_and_said_to_be_warm(agent: Front, files: Path, tmp_path: Path) -> None:
    heard: list[Presence] = []

    async def hear(msg: object) -> None:
        heard.append(decode_presence(msg.data))  # pyright: ignore[reportAttributeAccessIssue]

    await agent.nc.subscribe(subjects.PRESENCE, cb=hear)
    manifest = put(files, folder_of(tmp_path / "m"))
    await predict(agent, manifest, "a" * 26, text="x")
    assert text_of(await agent.final("a" * 26)) == "pushed x"
    await eventually(lambda: heard and heard[-1].warm == [manifest.version])
    assert heard[-1].versions == []


async def test_its_own_modules_win(agent: Front, files: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", code=SHADOWING, **{"schemas.py": "A = 'own '\n"})
    (folder / "gateway").mkdir()
    (folder / "gateway" / "__init__.py").touch()
    (folder / "gateway" / "app.py").write_text("B = 'modules'\n")
    await predict(agent, put(files, folder), "a" * 26)
    assert text_of(await agent.final("a" * 26)) == "own modules"


async def test_secrets_and_uploads_reach_the_predictor(agent: Front, files: Path, tmp_path: Path) -> None:
    manifest = put(files, folder_of(tmp_path / "m", code=CAT))
    (files / "up").mkdir()
    (files / "up" / "one").write_text("content and ")
    box = SealedBox(KEY.public_key).encrypt(json.encode(Secret("a" * 26, "secret")))
    token = SEALED + base64.b64encode(box).decode()
    await predict(agent, manifest, "a" * 26, file=f"{FILE}up/one", token=token)
    assert text_of(await agent.final("a" * 26)) == "content and secret"
    await predict(agent, manifest, "b" * 26, file=f"{FILE}up/one", token=token)
    final = await agent.final("b" * 26)
    assert isinstance(final, Failed)
    assert "sealed for another prediction" in final.error


async def test_a_version_that_cannot_be_run_here_answers_with_the_reason(
    agent: Front, files: Path, tmp_path: Path
) -> None:
    bad = put(files, folder_of(tmp_path / "m", code="import nothing_of_that_name\n"))
    await predict(agent, bad, "a" * 26)
    final = await agent.final("a" * 26)
    assert isinstance(final, Failed)
    assert final.error.startswith("import: predict.py:1: ")


async def test_a_version_that_cannot_be_fetched_yet_is_tried_again(agent: Front, files: Path, tmp_path: Path) -> None:
    manifest = put(files, folder_of(tmp_path / "m"))
    tar = files / f"packs/{manifest.pack}.tar"
    tar.rename(tmp_path / "away")
    await predict(agent, manifest, "a" * 26, text="late")
    cache = tmp_path / "cache" / "packs"
    await eventually(lambda: (cache / f"{manifest.pack}.lock").exists())
    (tmp_path / "away").rename(tar)
    assert text_of(await agent.final("a" * 26)) == "pushed late"


async def test_a_version_that_nobody_pushed_is_left_alone(agent: Front, files: Path, tmp_path: Path) -> None:
    nobody = put(tmp_path / "elsewhere", folder_of(tmp_path / "m"))
    ours = put(files, folder_of(tmp_path / "m"), name="other")
    await predict(agent, nobody, "a" * 26, text="x")
    await predict(agent, ours, "b" * 26, text="x")
    assert isinstance(await agent.final("b" * 26), Succeeded)
    assert not agent.said.get("a" * 26)


async def test_a_deleted_version_lets_its_runs_end_and_goes(agent: Front, files: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    manifest = put(files, folder_of(tmp_path / "m", code=GATED))
    await predict(agent, manifest, "a" * 26, gate=str(gate))
    await agent.until(lambda: agent.events("a" * 26, Started))
    (files / f"versions/{manifest.version}.json").unlink()
    await agent.nc.publish(subjects.RETIRED, json.encode(Retired(versions=[manifest.version, "0" * 64])))
    await agent.nc.flush()
    gate.touch()
    assert text_of(await agent.final("a" * 26)) == "through"
    await eventually(lambda: not workers())
    folder = tmp_path / "cache" / "packs" / manifest.pack
    await eventually(lambda: not folder.exists())


async def test_the_cache_keeps_to_its_size(
    front: Front, nats_url: str, settings: Settings, files: Path, tmp_path: Path
) -> None:
    """What runs stays, whatever the limit."""
    first = put(files, folder_of(tmp_path / "m"), name="first")
    second = put(files, folder_of(tmp_path / "m", code=ECHO + "# second\n"), name="second")
    cache = tmp_path / "cache"
    changed = {"files_url": f"file://{files}", "cache_dir": str(cache), "models": (), "cache_bytes": 1}
    async with running(settings, nats_url=nats_url, idle_timeout=0.2, **changed):
        await predict(front, first, "a" * 26, text="1")
        assert text_of(await front.final("a" * 26)) == "pushed 1"
        await eventually(lambda: not workers())
        await predict(front, second, "b" * 26, text="2")
        assert text_of(await front.final("b" * 26)) == "pushed 2"
        await eventually(lambda: not (cache / "packs" / first.pack).exists())
        assert (cache / "packs" / second.pack).exists()
