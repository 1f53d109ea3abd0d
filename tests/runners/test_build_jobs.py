"""A push, from its build job to the result that a gateway receives."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from runners.settings import Settings
from schemas.events import Canceled, Started, Succeeded
from tests.runners.conftest import FakeGateway, eventually, running_agent, text_of, worker_processes
from tests.runners.pushes import (
    ECHO,
    log_of,
    store_archive,
    submit_build,
    submit_prediction,
    wait_built,
    wait_failed,
    write_folder,
)


@pytest.fixture
def store(settings: Settings) -> Path:
    return Path(settings.files_url.removeprefix("file://"))


@pytest.fixture
async def builder(gateway: FakeGateway, nats_url: str, settings: Settings) -> AsyncGenerator[FakeGateway]:
    async with running_agent(settings, nats_url=nats_url, models=(), setup_limit=2):
        yield gateway


async def test_a_push_becomes_a_version_that_runs(builder: FakeGateway, store: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", config="build:\n  gpu: true\n", **{"README.md": "# M\n\nSays so."})
    manifest = store_archive(store, folder)
    await submit_build(builder, manifest, "b" * 26)
    result = await wait_built(builder, "b" * 26)
    assert (result.offer.owner, result.offer.name, result.offer.version) == ("ann", "pushed", manifest.version)
    assert result.offer.description == "Says so."
    assert b'"text"' in bytes(result.offer.openapi_schema)
    assert result.setup_log == "setting up\n"
    assert result.environment is None
    assert result.notes == ["cog.yaml:3: build.gpu is not handled here: the runner's own devices are used"]
    log = log_of(builder, "b" * 26)
    stages = [line for line in log.splitlines() if line.startswith("==")]
    assert stages == ["== fetch", "== config", "== environment", "== import", "== schema", "== setup"]
    assert "setting up" in log
    await eventually(lambda: not worker_processes())
    await submit_prediction(builder, manifest, "p" * 26, text="it")
    assert text_of(await builder.final("p" * 26)) == "pushed it"


BROKEN = [
    pytest.param(
        {"config": "batching: 3\n"}, "config: cog.yaml:2: batching is not a known key", {"line": 2}, id="config"
    ),
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
async def test_a_failed_build_names_its_place(
    builder: FakeGateway, store: Path, tmp_path: Path, folder: dict[str, str], error: str, place: dict[str, object]
) -> None:
    manifest = store_archive(store, write_folder(tmp_path / "m", **folder))
    await submit_build(builder, manifest, "f" * 26)
    final = await wait_failed(builder, "f" * 26)
    assert final.error.startswith(error)
    stage = error.partition(":")[0]
    assert final.metrics["stage"] == stage
    assert place.items() <= final.metrics.items()
    log = log_of(builder, "f" * 26)
    assert f"== {stage}\n" in log
    assert ("loud" in log) == ("loud" in str(folder))
    assert str(tmp_path) not in final.error


async def test_a_build_without_its_archive_fails_at_the_fetch(
    builder: FakeGateway, store: Path, tmp_path: Path
) -> None:
    manifest = store_archive(store, write_folder(tmp_path / "m", code=ECHO + "# changed\n"))
    tar = store / f"packs/{manifest.pack}.tar"
    content = bytearray(tar.read_bytes())
    content[600] ^= 1
    tar.write_bytes(content)
    await submit_build(builder, manifest, "c" * 26)
    assert "fetch: the archive's sha256 is" in (await wait_failed(builder, "c" * 26)).error
    tar.unlink()
    await submit_build(builder, manifest, "d" * 26)
    assert (await wait_failed(builder, "d" * 26)).error.startswith("fetch: there is no packs/")
    (store / f"versions/{manifest.version}.json").unlink()
    await submit_build(builder, manifest, "e" * 26)
    assert (await wait_failed(builder, "e" * 26)).error.startswith("fetch: the archive is no longer in the file store")


async def test_a_cancel_ends_the_running_tool(builder: FakeGateway, store: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    config = f"build:\n  run:\n    - sleep 600 & echo $! > {pid}; wait\n"
    await submit_build(builder, store_archive(store, write_folder(tmp_path / "m", config=config)), "k" * 26)
    await eventually(lambda: pid.exists() and pid.read_text().strip())
    sleeper = psutil.Process(int(pid.read_text()))
    await builder.cancel("k" * 26, "not wanted")
    final = await builder.final("k" * 26)
    assert isinstance(final, Canceled)
    assert final.error == "not wanted"
    await eventually(lambda: not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE)


async def test_a_build_whose_agent_stops_is_done_by_another(
    gateway: FakeGateway, nats_url: str, settings: Settings, store: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done\n"
    manifest = store_archive(store, write_folder(tmp_path / "m", config=config))
    async with running_agent(settings, nats_url=nats_url, models=()):
        await submit_build(gateway, manifest, "g" * 26)
        await gateway.wait_until(lambda: gateway.events("g" * 26, Started))
    assert not gateway.finals("g" * 26)
    gate.touch()
    async with running_agent(settings, nats_url=nats_url, models=(), agent="second"):
        assert (await wait_built(gateway, "g" * 26)).environment is not None


async def test_an_agent_without_builds_leaves_them_to_others(
    gateway: FakeGateway, nats_url: str, settings: Settings, store: Path, tmp_path: Path
) -> None:
    manifest = store_archive(store, write_folder(tmp_path / "m", code=ECHO + "# left\n"))
    async with running_agent(settings, nats_url=nats_url, models=(), builds=False):
        await submit_build(gateway, manifest, "h" * 26)
        await submit_prediction(gateway, manifest, "i" * 26, text="you")
        assert isinstance(await gateway.final("i" * 26), Succeeded)

        async def one_is_left() -> bool:
            return await gateway.queued() == 1

        await eventually(one_is_left)
        assert not gateway.events_by_id.get("h" * 26)
    async with running_agent(settings, nats_url=nats_url, models=()):
        assert (await wait_built(gateway, "h" * 26)).offer.version == manifest.version


async def test_two_pushes_wait_for_each_other(builder: FakeGateway, store: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done; echo one\n"
    first = store_archive(store, write_folder(tmp_path / "one", config=config), name="one")
    second = store_archive(store, write_folder(tmp_path / "two", code=ECHO + "# two\n"), name="two")
    await submit_build(builder, first, "x" * 26)
    await builder.wait_until(lambda: builder.events("x" * 26, Started))
    await submit_build(builder, second, "y" * 26)
    gate.touch()
    await asyncio.gather(wait_built(builder, "x" * 26), wait_built(builder, "y" * 26))
    assert builder.finals("x" * 26)[0].at <= builder.finals("y" * 26)[0].at
