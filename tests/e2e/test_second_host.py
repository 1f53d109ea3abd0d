"""A runner on another host: a cache of its own, no shared disk, only the broker and the gateway to speak to."""

import os
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from replicate.client import Client

from benchmarks import processes
from benchmarks.stack import SAMOVAR, Stack, running_stack
from tests.contract.conftest import open_client
from tests.push import PREDICTORS, push_successfully, run_samovar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("files", "report", "secrets", "environment")


@pytest.fixture(scope="module")
def home() -> Generator[Stack]:
    """The first host."""
    with running_stack(environ={"SAMOVAR_BUNDLED": "false"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def versions(home: Stack) -> dict[str, str]:
    """Versions that were built on the first host."""
    return {name: push_successfully(home, PREDICTORS / name, f"tester/{name}").version for name in NAMES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("second") / "cache"


@pytest.fixture(scope="module")
def second(home: Stack, versions: dict[str, str], cache: Path) -> Generator[psutil.Process]:
    """The runner of the second host, alone: that of the first one is suspended."""
    assert versions
    (agent,) = processes.find(home, "agent")
    agent.suspend()
    log = cache.parent / "runner.log"
    with log.open("wb") as out:
        process = psutil.Popen(
            [sys.executable, str(SAMOVAR), "runner"], env=environment(home, cache), stdout=out, stderr=out
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)
        agent.resume()
        print(log.read_text())


def environment(home: Stack, cache: Path) -> dict[str, str]:
    """Return the settings that `samovar token --runner` prints, and a cache directory."""
    result = run_samovar(home, "token", "--runner", "--data-dir", str(home.data_dir))
    assert result.status == 0, result.err
    settings = dict(line.split("=", 1) for line in result.out.splitlines())
    assert settings["SAMOVAR_FILES_URL"] == f"{home.url}/-/files"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return {**inherited, **settings, "SAMOVAR_CACHE_DIR": str(cache)}


@pytest.fixture(scope="module")
async def replicate(home: Stack) -> AsyncGenerator[Client]:
    async with open_client(home.url, home.token) as client:
        yield client


@pytest.fixture
def run(replicate: Client, second: psutil.Process, versions: dict[str, str]) -> Any:
    def output(name: str, **input: Any) -> Any:
        prediction = replicate.predictions.create(version=versions[name], input=input)
        prediction.wait()
        assert prediction.status == "succeeded", (prediction.error, prediction.logs)
        return prediction.output

    assert second.is_running()
    return output


def test_it_fetches_a_version_and_hands_over_its_files(run: Any) -> None:
    report = run("report", title="tea", pages=1)
    assert httpx.get(report["cover"]).content == b"tea"
    assert httpx.get(report["pages"][0]["file"]).content == b"tea 0"


def test_it_fetches_uploads_and_outputs(run: Any, tmp_path: Path) -> None:
    upload = tmp_path / "upload.txt"
    upload.write_text("far away")
    cover = run("report", title="made here", pages=0)["cover"]
    with upload.open("rb") as opened:
        files = run("files", file=opened, more=[cover])["files"]
    assert [file["bytes"] for file in files] == [8, 9]


def test_it_opens_secrets(run: Any) -> None:
    assert run("secrets", key="open sesame") == "11 letters, the last is e; other: False"


def test_it_makes_environments_of_its_own(run: Any) -> None:
    assert run("environment", number=14) == {"roman": "XIV", "iniconfig": "2.0.0"}


def test_it_takes_pushes(run: Any, replicate: Client, home: Stack) -> None:
    """The only other runner is suspended."""
    version = push_successfully(home, PREDICTORS / "function", "tester/function").version
    assert replicate.run(f"tester/function:{version}", input={"text": "built there"}) == "BUILT THERE!"


def test_it_touches_no_disk_of_the_first(run: Any, home: Stack, second: psutil.Process, cache: Path) -> None:
    run("report", title="once more", pages=0)
    family = [second, *second.children(recursive=True)]
    opened = {file.path for process in family for file in process.open_files()}
    folders = {process.cwd() for process in family[1:]}
    assert not [path for path in opened | folders if Path(path).is_relative_to(home.data_dir)]
    assert [folder for folder in folders if Path(folder).is_relative_to(cache)]
    assert home.data_dir.as_posix() not in " ".join(second.environ().values())
