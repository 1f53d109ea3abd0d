"""Completion, done by the shell itself."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.stack import SAMOVAR

SCRIPT = """
eval "$({samovar} completion bash)"
COMP_WORDS=({words}) COMP_CWORD={at}
_samovar
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "candidates"),
    [
        pytest.param(["samovar", "pre"], {"predict", "predictions"}, id="a command"),
        pytest.param(["samovar", "predictions", "ca"], {"cancel"}, id="a command of a group"),
        pytest.param(["samovar", "run", "--out"], {"--output-dir"}, id="an option"),
    ],
)
def test_bash_completes(typed: list[str], candidates: set[str]) -> None:
    script = SCRIPT.format(samovar=SAMOVAR, words=" ".join(f"'{word}'" for word in typed), at=len(typed) - 1)
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) == candidates


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_with_the_commands(shell: str) -> None:
    result = subprocess.run([SAMOVAR, "completion", shell], capture_output=True, text=True, check=True)
    assert "predictions" in result.stdout
    assert result.stderr == ""


def test_an_unknown_shell_has_to_be_named() -> None:
    result = subprocess.run(
        [sys.executable, SAMOVAR, "completion"], capture_output=True, text=True, check=False, env={"SHELL": "/bin/what"}
    )
    assert result.returncode == 1
    assert "samovar completion bash|zsh|fish" in result.stderr
