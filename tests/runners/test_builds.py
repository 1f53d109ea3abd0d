"""A push, from the job to what a gateway learns of it."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from runners.settings import Settings
from schemas.events import Canceled, Started, Succeeded
from tests.runners.conftest import Front, eventually, running, text_of, workers
from tests.runners.pushing import ECHO, build, built, failed, folder_of, log_of, predict, put


@pytest.fixture
def store(settings: Settings) -> Path:
    return Path(settings.files_url.removeprefix("file://"))


@pytest.fixture
async def builder(front: Front, nats_url: str, settings: Settings) -> AsyncGenerator[Front]:
    async with running(settings, nats_url=nats_url, models=(), setup_limit=2):
        yield front


async def test_a_push_becomes_a_version_that_runs(builder: Front, store: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", config="build:\n  gpu: true\n", **{"README.md": "# M\n\nSays so."})
    manifest = put(store, folder)
    await build(builder, manifest, "b" * 26)
    made = await built(builder, "b" * 26)
    assert (made.offer.owner, made.offer.name, made.offer.version) == ("ann", "pushed", manifest.version)
    assert made.offer.description == "Says so."
    assert b'"text"' in bytes(made.offer.openapi_schema)
    assert made.setup_log == "setting up\n"
    assert made.environment is None
    assert made.notes == ["cog.yaml:3: build.gpu is not handled here: the runner's own devices are used"]
    log = log_of(builder, "b" * 26)
    stages = [line for line in log.splitlines() if line.startswith("==")]
    assert stages == ["== fetch", "== config", "== environment", "== import", "== schema", "== setup"]
    assert "setting up" in log
    await eventually(lambda: not workers())
    await predict(builder, manifest, "p" * 26, text="it")
    assert text_of(await builder.final("p" * 26)) == "pushed it"


BROKEN = [
    pytest.param({"config": "batching: 3\n"}, "config: cog.yaml:2: batching is not known", {"line": 2}, id="config"),
    pytest.param(
        {"config": "build: {python_version: '3.2'}\n"},
        "environment: cog.yaml:2: python 3.2 is too old",
        {"line": 2},
        id="environment",
    ),
    pytest.param(
        {"config": "build:\n  run:\n    - echo loud && exit 3\n"},
        "environment: cog.yaml:4: a command failed: echo loud && exit 3 ended with exit code 3",
        {"file": "cog.yaml", "line": 4},
        id="command",
    ),
    pytest.param(
        {"code": "import json\n\nimport nothing_of_that_name\n"},
        "import: predict.py:3: ",
        {"file": "predict.py", "line": 3},
        id="import",
    ),
    pytest.param({"code": "import os\nos._exit(4)\n"}, "import: importing predict.py:Predictor ended", {}, id="exits"),
    pytest.param(
        {"code": "class Predictor:\n    def predict(self, a: complex) -> str: ...\n"},
        "schema: predict.py:2: ",
        {"file": "predict.py", "line": 2},
        id="schema",
    ),
    pytest.param(
        {"code": ECHO.replace('print("setting up")', 'print("loud")\n        raise OSError("no such luck")')},
        "setup: predict.py:5: ",
        {"file": "predict.py", "line": 5},
        id="setup",
    ),
    pytest.param(
        {"code": ECHO.replace('print("setting up")', "import time\n        time.sleep(60)")},
        "setup: predict.py:5: setup took longer than the limit of 2 s",
        {"file": "predict.py", "line": 5},
        id="hangs",
    ),
]


@pytest.mark.parametrize(("folder", "error", "place"), BROKEN)
async def test_a_push_that_fails_says_where(
    builder: Front, store: Path, tmp_path: Path, folder: dict[str, str], error: str, place: dict[str, object]
) -> None:
    manifest = put(store, folder_of(tmp_path / "m", **folder))
    await build(builder, manifest, "f" * 26)
    final = await failed(builder, "f" * 26)
    assert final.error.startswith(error)
    stage = error.partition(":")[0]
    assert final.metrics["stage"] == stage
    assert place.items() <= final.metrics.items()
    log = log_of(builder, "f" * 26)
    assert f"== {stage}\n" in log
    assert ("loud" in log) == ("loud" in str(folder))
    assert str(tmp_path) not in final.error


async def test_what_is_not_in_the_store_fails_at_the_fetch(builder: Front, store: Path, tmp_path: Path) -> None:
    manifest = put(store, folder_of(tmp_path / "m", code=ECHO + "# changed\n"))
    tar = store / f"packs/{manifest.pack}.tar"
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.write_bytes(content)
    await build(builder, manifest, "c" * 26)
    assert "fetch: the archive's sha256 is" in (await failed(builder, "c" * 26)).error
    tar.unlink()
    await build(builder, manifest, "d" * 26)
    assert (await failed(builder, "d" * 26)).error.startswith("fetch: there is no packs/")
    (store / f"versions/{manifest.version}.json").unlink()
    await build(builder, manifest, "e" * 26)
    assert (await failed(builder, "e" * 26)).error.startswith("fetch: the archive is no longer in the file store")


async def test_a_cancel_ends_the_tool_that_runs(builder: Front, store: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    config = f"build:\n  run:\n    - sleep 600 & echo $! > {pid}; wait\n"
    await build(builder, put(store, folder_of(tmp_path / "m", config=config)), "k" * 26)
    await eventually(lambda: pid.exists() and pid.read_text().strip())
    sleeper = psutil.Process(int(pid.read_text()))
    await builder.cancel("k" * 26, "not wanted")
    final = await builder.final("k" * 26)
    assert isinstance(final, Canceled)
    assert final.error == "not wanted"
    await eventually(lambda: not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE)


async def test_a_build_whose_agent_leaves_is_made_by_another(
    front: Front, nats_url: str, settings: Settings, store: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done\n"
    manifest = put(store, folder_of(tmp_path / "m", config=config))
    async with running(settings, nats_url=nats_url, models=()):
        await build(front, manifest, "g" * 26)
        await front.until(lambda: front.events("g" * 26, Started))
    assert not front.finals("g" * 26)
    gate.touch()
    async with running(settings, nats_url=nats_url, models=(), agent="second"):
        assert (await built(front, "g" * 26)).environment is not None


async def test_an_agent_may_leave_building_to_others(
    front: Front, nats_url: str, settings: Settings, store: Path, tmp_path: Path
) -> None:
    manifest = put(store, folder_of(tmp_path / "m", code=ECHO + "# left\n"))
    async with running(settings, nats_url=nats_url, models=(), builds=False):
        await build(front, manifest, "h" * 26)
        await predict(front, manifest, "i" * 26, text="you")
        assert isinstance(await front.final("i" * 26), Succeeded)

        async def one_is_left() -> bool:
            return await front.queued() == 1

        await eventually(one_is_left)
        assert not front.said.get("h" * 26)
    async with running(settings, nats_url=nats_url, models=()):
        assert (await built(front, "h" * 26)).offer.version == manifest.version


async def test_two_pushes_wait_for_each_other(builder: Front, store: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done; echo one\n"
    first = put(store, folder_of(tmp_path / "one", config=config), name="one")
    second = put(store, folder_of(tmp_path / "two", code=ECHO + "# two\n"), name="two")
    await build(builder, first, "x" * 26)
    await builder.until(lambda: builder.events("x" * 26, Started))
    await build(builder, second, "y" * 26)
    gate.touch()
    await asyncio.gather(built(builder, "x" * 26), built(builder, "y" * 26))
    assert builder.finals("x" * 26)[0].at <= builder.finals("y" * 26)[0].at
