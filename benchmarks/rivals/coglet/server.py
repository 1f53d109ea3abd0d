"""coglet, as https://cog.run/docs says that it is fastest: what an image that `cog build` made would run."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

import json
import os
import shutil
from pathlib import Path

import coglet

from benchmarks.rivals.model import port, streamed

HERE = Path(__file__).parent
DOCUMENT = Path(".cog") / "openapi_schema.json"
"""What `cog build` puts into an image; without it coglet offers no streams."""


def built() -> None:
    """A folder as in an image."""
    os.chdir(os.environ["TMPDIR"])
    shutil.copy(HERE / "predictor.py", "predictor.py")
    DOCUMENT.parent.mkdir()
    prediction = {"x-cog-streaming": True} if streamed() else {}
    DOCUMENT.write_text(json.dumps({"openapi": "3.0.2", "paths": {"/predictions": {"post": prediction}}}))


if __name__ == "__main__":
    built()
    coglet.server.serve(predictor_ref="predictor.py:Predictor", host="127.0.0.1", port=port())
