"""`samovar push`, as its users type it."""

import os
import subprocess
import textwrap
from pathlib import Path

from msgspec import Struct

from benchmarks.stack import SAMOVAR, Stack

PREDICTORS = Path(__file__).parent / "predictors"
LIMIT = 300.0  # seconds; an environment may have to be made


class Said(Struct, frozen=True):
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def model(self) -> str:
        """owner/name:version, which a good push prints last."""
        return self.out.strip().splitlines()[-1]

    @property
    def version(self) -> str:
        return self.model.rpartition(":")[2]


def samovar(stack: Stack, *arguments: str, limit: float = LIMIT) -> Said:
    """A command for this stack, which it is told of by its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    env = {**kept, "SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token}
    done = subprocess.run(
        [str(SAMOVAR), *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit
    )
    return Said(done.returncode, done.stdout, done.stderr)


def push(stack: Stack, folder: Path, model: str) -> Said:
    return samovar(stack, "push", str(folder), model)


def pushed(stack: Stack, folder: Path, model: str) -> Said:
    """One that has to be good."""
    said = push(stack, folder, model)
    assert said.status == 0, f"{said.out}\n{said.err}"
    return said


def folder(path: Path, **files: str) -> Path:
    """A Cog folder of these: `predict="…"` is predict.py, `cog="…"` is cog.yaml."""
    path.mkdir(parents=True, exist_ok=True)
    files.setdefault("cog", 'predict: "predict.py:Predictor"\n')
    for name, text in files.items():
        (path / ("cog.yaml" if name == "cog" else f"{name}.py")).write_text(textwrap.dedent(text))
    return path
