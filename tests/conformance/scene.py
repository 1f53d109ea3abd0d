"""The places that one side of a comparison works in: the predictor's folder, its temporary folder, its marks."""

import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import psutil
import yaml
from msgspec import json

from tests.conformance.outcome import Call, Case

PREDICTORS: Final = Path(__file__).parent / "predictors"
PATIENCE: Final = 20.0
SOON: Final = 0.5
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "USER", "LD_LIBRARY_PATH")


class Scene:
    """Owned by one side, for one case."""

    def __init__(self, case: Case, home: Path, web: str) -> None:
        self.case = case
        self.folder = home / "model"
        self.temporary = home / "tmp"
        self.marks = home / "marks"
        self.setup_marks = home / "setup-marks"
        self.gate = home / "gate"
        self._web = web
        self.temporary.mkdir(parents=True)
        shutil.copytree(PREDICTORS / case.predictor, self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def environment(self) -> dict[str, str]:
        """What a predictor's process may see: little of ours, what cog.yaml asks for, what the case sets."""
        config = yaml.safe_load((self.folder / "cog.yaml").read_text())
        baked = dict(line.split("=", 1) for line in config.get("environment", []))
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "TMPDIR": str(self.temporary),
            "SETUP_MARKS": str(self.setup_marks),
            **baked,
            **self.case.environment,
        }

    def begin(self) -> None:
        """Before each call."""
        self.marks.write_text("")
        self.gate.unlink(missing_ok=True)
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()

    def fill(self, input: dict[str, Any]) -> dict[str, Any]:
        """With the places that it asks for."""
        text = json.encode(input).decode()
        for name, place in (("marks", self.marks), ("gate", self.gate), ("web", self._web)):
            text = text.replace(f"{{{name}}}", str(place))
        return json.decode(text)

    def inputs(self, call: Call) -> list[dict[str, Any]]:
        return [self.fill(input) for input in (call.input, *call.beside)]

    def wait_for_marks(self) -> None:
        """Wait until the predictor has written to its marks."""
        until(lambda: self.marks.read_text() != "", "the predictor wrote no mark")

    def litter(self) -> int:
        """Count the files that stay: others are removed within moments of the answer."""
        late = time.monotonic() + SOON
        while (count := self._files()) and time.monotonic() < late:
            time.sleep(0.005)
        return count

    def _files(self) -> int:
        return sum(len(files) for _, _, files in os.walk(self.temporary))


def until(is_true: Any, complaint: str) -> None:
    """Wait for a condition that nobody announces."""
    late = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > late:
            raise TimeoutError(complaint)
        time.sleep(0.005)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def describe_content(content: bytes) -> str:
    """Return a file's content as it stands in an outcome."""
    return f"<file of {len(content)} bytes: {content[:64]!r}>"
