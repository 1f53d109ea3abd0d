"""The command `samovar predict`."""

import os
from pathlib import Path

from deploy.cli.commands.options import Inputs, JsonResult, OutputDir


def predict(folder: Path, *, input: Inputs = (), output_dir: OutputDir = Path(), as_json: JsonResult = False) -> int:
    """Run a Cog folder once on this machine, without a server. Ctrl-C stops it.

    Parameters
    ----------
    folder
        The folder with cog.yaml and the predictor.
    """
    from deploy.cli.folder.run import run_folder  # here, as completion loads the modules of all commands

    return run_folder(folder, input, os.environ, output_dir=output_dir, as_json=as_json)
