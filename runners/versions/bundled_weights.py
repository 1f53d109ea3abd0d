"""Conversion of the bundled models' weights ahead of their first use: `python -m runners.versions.bundled_weights`.

A model whose weights need it has a script `convert.py`, which runs in its own process: torch stays out of this one.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BUNDLED: Final = Path(__file__).parents[1] / "models"
_SCRIPT: Final = "convert.py"


class ConversionFailed(Exception):
    """A model's script failed; its output precedes this."""


def convert(folders: Iterable[Path], cache: Path | None = None) -> None:
    """Run each folder's script, which is quick when there is nothing to do. Raises `ConversionFailed`."""
    environment = os.environ | ({"SAMOVAR_CACHE_DIR": str(cache)} if cache else {})
    for folder in folders:
        script = folder / _SCRIPT
        if script.is_file():
            result = subprocess.run([sys.executable, str(script)], cwd=folder, env=environment, check=False)
            if result.returncode:
                raise ConversionFailed(f"{script} ended with {result.returncode}")


def main() -> None:
    """Convert the weights of all bundled models."""
    try:
        convert(sorted(BUNDLED.iterdir()))
    except ConversionFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
