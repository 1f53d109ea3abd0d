"""`replicate` 2.0.0b4 from PyPI, unmodified: every method, sync and async, each answer checked against its types."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.contract.greeters import create_collection

HERE = Path(__file__).parent / "python2"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def installed() -> Path:
    """The client alone: its dependencies are installed."""
    packages = HERE / "packages"
    if not (packages / "replicate").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        options = ["--target", str(packages), "-r", str(HERE / "requirements.txt")]
        subprocess.run([*pip, *options], check=True)
    return packages


@pytest.fixture(scope="session", params=["sync", "async"])
def seen(request: pytest.FixtureRequest, installed: Path, stack: Stack) -> dict[str, Any]:
    """The results by scene, once for each kind of client."""
    env = {**os.environ, "PYTHONPATH": str(installed)}
    env |= {"REPLICATE_BASE_URL": f"{stack.url}/v1", "REPLICATE_API_TOKEN": stack.token}
    script = [sys.executable, str(HERE / "scenes.py"), request.param]
    with create_collection(stack):
        result = subprocess.run(script, env=env, capture_output=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr.decode()
    return json.decode(result.stdout)


@pytest.mark.parametrize(
    ("scene", "saw"),
    [
        ("account", ["user", "samovar"]),
        ("collections", [True, "Greeters", ["hello-world"]]),
        ("files", ["text/plain", 6, True, True]),
        ("download", ["a note", True]),
        ("models", ["private", "# Readme", True, [True], True, True]),
        ("versions", [True, True]),
        ("examples", []),
        ("predictions", ["hello Ann", True, True, "succeeded"]),
        ("predictions_of_a_model", "hello Ann"),
        ("cancel", "canceled"),
        ("deployments", [[1, 2, 2], True, "hello Ann", 2, True]),
        ("trainings", ["succeeded", True, "servus Ann", "succeeded", True]),
        ("secret", True),
        ("run", ["hello Ann", ["0", "1", "2"]]),
        ("use", "hello Ann"),
        ("a_wrong_input", True),
    ],
)
def test_every_method_works(seen: dict[str, Any], scene: str, saw: Any) -> None:
    assert seen[scene] == {"saw": saw}


def test_hardware_lists_kinds(seen: dict[str, Any]) -> None:
    assert "cpu" in seen["hardware"]["saw"]


def test_no_scene_went_unchecked(seen: dict[str, Any]) -> None:
    assert [name for name, what in seen.items() if "error" in what] == []
