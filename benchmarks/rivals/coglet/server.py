"""coglet, set up as https://cog.run/docs describes its fastest configuration, like an image of `cog build`."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

import json
import os
import shutil
from pathlib import Path

import coglet

from benchmarks.rivals.model import is_streaming, server_port

HERE = Path(__file__).parent
DOCUMENT = Path(".cog") / "openapi_schema.json"
"""What `cog build` puts into an image; without it coglet offers no streams."""


def write_image_folder() -> None:
    """Write a folder like that of an image, and change to it."""
    os.chdir(os.environ["TMPDIR"])
    shutil.copy(HERE / "predictor.py", "predictor.py")
    DOCUMENT.parent.mkdir()
    prediction = {"x-cog-streaming": True} if is_streaming() else {}
    DOCUMENT.write_text(json.dumps({"openapi": "3.0.2", "paths": {"/predictions": {"post": prediction}}}))


if __name__ == "__main__":
    write_image_folder()
    coglet.server.serve(predictor_ref="predictor.py:Predictor", host="127.0.0.1", port=server_port())
