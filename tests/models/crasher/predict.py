"""A predictor that crashes its process a chosen number of times, then answers. It counts in a file."""

import ctypes
import os
from pathlib import Path

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        times: int = Input(description="How often to die"),
        tally: str = Input(description="A file to count in"),
        how: str = Input(default="exit", choices=["exit", "segfault"]),
    ) -> str:
        died = len(Path(tally).read_bytes()) if Path(tally).exists() else 0
        if died < times:
            with Path(tally).open("ab") as file:
                file.write(b"x")
            print("here I go", flush=True)
            if how == "segfault":
                ctypes.string_at(0)
            os._exit(13)
        return f"died {died} times"
