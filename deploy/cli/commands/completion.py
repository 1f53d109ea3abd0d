"""The command `samovar completion`."""

import os
import sys
from pathlib import Path
from typing import Final, Literal

from cyclopts import App

from deploy.errors import UsageError

Shell = Literal["bash", "zsh", "fish"]
SHELLS: Final[tuple[Shell, ...]] = ("bash", "zsh", "fish")
INSTRUCTIONS: Final[dict[Shell, str]] = {
    "bash": 'eval "$(samovar completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(samovar completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "samovar completion fish | source    # in ~/.config/fish/config.fish",
}


def print_completion(app: App, shell: Shell | None) -> None:
    """Print the completion script of `app` on stdout; on a terminal, also how to use it, on stderr."""
    chosen = shell or _current_shell()
    print(app.generate_completion(prog_name="samovar", shell=chosen))
    if sys.stdout.isatty():
        instruction = INSTRUCTIONS[chosen]
        print(f"samovar: to use it, add this line to your shell's start-up file:\n  {instruction}", file=sys.stderr)


def _current_shell() -> Shell:
    """Return the shell that SHELL names. Raises `UsageError` for an unknown one."""
    name = Path(os.environ.get("SHELL", "")).name
    for shell in SHELLS:
        if shell == name:
            return shell
    raise UsageError(f"name your shell: samovar completion {'|'.join(SHELLS)}")
