"""Makes bundled weights quick to load, ahead of the first use: `python -m runners.versions.bundled_weights`.

A model that has something to prepare has a script `convert.py`; a process of its own runs it, so that torch stays
out of this one.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BUNDLED: Final = Path(__file__).parents[1] / "models"
_SCRIPT: Final = "convert.py"


class Unconverted(Exception):
    """A model's script failed; what it said stands above."""


def convert(folders: Iterable[Path], cache: Path | None = None) -> None:
    """Quick when there is nothing to do. Raises `Unconverted`."""
    environment = os.environ | ({"SAMOVAR_CACHE_DIR": str(cache)} if cache else {})
    for folder in folders:
        script = folder / _SCRIPT
        if script.is_file():
            ended = subprocess.run([sys.executable, str(script)], cwd=folder, env=environment, check=False)
            if ended.returncode:
                raise Unconverted(f"{script} ended with {ended.returncode}")


def main() -> None:
    try:
        convert(sorted(BUNDLED.iterdir()))
    except Unconverted as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
