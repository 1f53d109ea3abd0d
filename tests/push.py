"""`samovar push`, as its users type it."""

import os
import subprocess
import textwrap
from pathlib import Path

from msgspec import Struct

from benchmarks.stack import SAMOVAR, Stack

PREDICTORS = Path(__file__).parent / "predictors"
TIMEOUT = 300.0  # seconds; an environment may have to be made


class CommandResult(Struct, frozen=True):
    """The output of a command, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def model(self) -> str:
        """The owner/name:version that a successful push prints last."""
        return self.out.strip().splitlines()[-1]

    @property
    def version(self) -> str:
        return self.model.rpartition(":")[2]


def run_samovar(stack: Stack, *arguments: str, timeout: float = TIMEOUT) -> CommandResult:
    """Run a command against this stack."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    env = {**inherited, "SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token}
    done = subprocess.run(
        [str(SAMOVAR), *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def push(stack: Stack, folder: Path, model: str) -> CommandResult:
    return run_samovar(stack, "push", str(folder), model)


def push_successfully(stack: Stack, folder: Path, model: str) -> CommandResult:
    """Push a folder, and check that it succeeds."""
    result = push(stack, folder, model)
    assert result.status == 0, f"{result.out}\n{result.err}"
    return result


def write_folder(path: Path, **files: str) -> Path:
    """Write a Cog folder: `predict="…"` is predict.py, `cog="…"` is cog.yaml."""
    path.mkdir(parents=True, exist_ok=True)
    files.setdefault("cog", 'predict: "predict.py:Predictor"\n')
    for name, text in files.items():
        (path / ("cog.yaml" if name == "cog" else f"{name}.py")).write_text(textwrap.dedent(text))
    return path
