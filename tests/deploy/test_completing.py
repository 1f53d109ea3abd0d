"""Completion, done by the shell itself."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.stack import SAMOVAR

ASK = """
eval "$({samovar} completion bash)"
COMP_WORDS=({words}) COMP_CWORD={at}
_samovar
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param(["samovar", "pre"], {"predict", "predictions"}, id="a command"),
        pytest.param(["samovar", "predictions", "ca"], {"cancel"}, id="a command of a group"),
        pytest.param(["samovar", "run", "--out"], {"--output-dir"}, id="an option"),
    ],
)
def test_bash_completes(typed: list[str], offered: set[str]) -> None:
    asked = ASK.format(samovar=SAMOVAR, words=" ".join(f"'{word}'" for word in typed), at=len(typed) - 1)
    said = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert set(said.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_that_knows_the_commands(shell: str) -> None:
    said = subprocess.run([SAMOVAR, "completion", shell], capture_output=True, text=True, check=True)
    assert "predictions" in said.stdout
    assert said.stderr == ""


def test_an_unknown_shell_is_asked_for() -> None:
    said = subprocess.run(
        [sys.executable, SAMOVAR, "completion"], capture_output=True, text=True, check=False, env={"SHELL": "/bin/what"}
    )
    assert said.returncode == 1
    assert "samovar completion bash|zsh|fish" in said.stderr
