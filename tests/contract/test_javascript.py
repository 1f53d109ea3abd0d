"""`replicate` 1.4.0 from npm, unmodified, under the machine's Node."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.contract.greeters import create_collection

HERE = Path(__file__).parent / "js"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed"),
]

Play = Callable[[str], Any]


@pytest.fixture(scope="session")
def installed() -> Path:
    """The client, as the lock file pins it."""
    lock, mark = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    return HERE


@pytest.fixture
def play(installed: Path, stack: Stack) -> Play:
    def scene(name: str) -> Any:
        env = {**os.environ, "REPLICATE_BASE_URL": stack.url, "REPLICATE_API_TOKEN": stack.token}
        result = subprocess.run(["node", "scenes.mjs", name], cwd=installed, env=env, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()
        return json.decode(result.stdout)

    return scene


@pytest.mark.parametrize(
    ("scene", "output"),
    [
        ("run", "hello Ann"),
        ("poll", "hello Ann"),
        ("iterate", ["0", "1", "2"]),
        ("cancel", "canceled"),
        ("list", {"found": True}),
    ],
)
def test_what_users_do_works(play: Play, scene: str, output: Any) -> None:
    assert play(scene) == output


def test_stream_gives_every_chunk(play: Play) -> None:
    events = play("stream")
    assert [event["data"] for event in events if event["event"] == "output"] == ["0", "1", "2", "3"]
    assert events[-1]["event"] == "done"


def test_a_language_model_streams_its_text(play: Play) -> None:
    events = play("text")
    assert "Paris" in "".join(event["data"] for event in events if event["event"] == "output")


def test_models_and_versions_are_read(play: Play) -> None:
    seen = play("models")
    assert (seen["owner"], seen["name"], seen["required"]) == ("samovar", "hello-world", ["text"])
    assert "hello-world" in seen["listed"]
    assert seen["versions"] >= 1
    assert seen["account"]


def test_an_aborted_run_is_canceled(play: Play) -> None:
    """The client cancels, stops waiting, and returns the output so far."""
    assert "status" not in play("abort") or play("abort")["status"] is None


def test_a_failed_model_throws_its_message(play: Play) -> None:
    assert "lost my voice" in play("failure")["message"]


@pytest.mark.parametrize(
    ("scene", "status", "message"), [("invalid", 422, "text is required"), ("missing", 404, "could not be found")]
)
def test_errors_arrive_as_the_clients_errors(play: Play, scene: str, status: int, message: str) -> None:
    error = play(scene)
    assert error["name"] == "ApiError"
    assert error["status"] == status
    assert message in error["message"]


def test_a_failing_stream_ends_with_its_error(play: Play) -> None:
    seen = play("brokenStream")
    result = json.encode(seen).decode()
    assert "no more parts" in result


@pytest.fixture(scope="session")
def seen(installed: Path, stack: Stack) -> dict[str, Any]:
    """The result of every method for the resources, by scene."""
    env = {**os.environ, "REPLICATE_BASE_URL": stack.url, "REPLICATE_API_TOKEN": stack.token}
    with create_collection(stack):
        result = subprocess.run(["node", "resources.mjs"], cwd=installed, env=env, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return json.decode(result.stdout)


@pytest.mark.parametrize(
    ("scene", "saw"),
    [
        ("account", ["user", "samovar"]),
        ("hardware", True),
        ("collections", [True, ["hello-world"]]),
        ("files", ["text/plain", 6, {"ticket": "7"}, True, True]),
        ("models", ["private", True, 0, 422]),
        ("predictions", ["hello Ann", True, "succeeded"]),
        ("deployments", [[1, 2, 2], "hello Ann", True, True]),
        ("trainings", ["succeeded", True, "servus Ann", "succeeded"]),
        ("webhook", [True, True, "succeeded"]),
    ],
)
def test_every_method_works(seen: dict[str, Any], scene: str, saw: Any) -> None:
    assert seen[scene] == {"saw": saw}
