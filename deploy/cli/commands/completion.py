"""`samovar completion`: scripts by which shells complete what is typed."""

import os
import sys
from pathlib import Path
from typing import Final, Literal

from cyclopts import App

from deploy.errors import Unusable

Shell = Literal["bash", "zsh", "fish"]
SHELLS: Final[tuple[Shell, ...]] = ("bash", "zsh", "fish")
HOW: Final[dict[Shell, str]] = {
    "bash": 'eval "$(samovar completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(samovar completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "samovar completion fish | source    # in ~/.config/fish/config.fish",
}


def complete(app: App, shell: Shell | None) -> None:
    """Print the script; on a terminal also how it is used, where it is not in the way."""
    wanted = shell or _own()
    print(app.generate_completion(prog_name="samovar", shell=wanted))
    if sys.stdout.isatty():
        print(f"samovar: to use it, put this into your shell's start-up file:\n  {HOW[wanted]}", file=sys.stderr)


def _own() -> Shell:
    """The shell that the user has. Raises `Unusable` for another one."""
    name = Path(os.environ.get("SHELL", "")).name
    for shell in SHELLS:
        if shell == name:
            return shell
    raise Unusable(f"name a shell: samovar completion {'|'.join(SHELLS)}")
