"""A predictor that prints in every possible way, records a metric, and fails on request."""

import os
import subprocess
import sys

from cog import BasePredictor, Input, current_scope


class Predictor(BasePredictor):
    def predict(self, fail: bool = Input(default=False)) -> str:
        print("one from print")
        print("two from stderr", file=sys.stderr)
        os.write(1, b"three from a descriptor\n")
        subprocess.run(["/bin/echo", "four from a child"], check=True)
        print("five: grüße")
        current_scope().record_metric("spoken", 5)
        if fail:
            raise ValueError("lost my voice")
        return "spoken"
