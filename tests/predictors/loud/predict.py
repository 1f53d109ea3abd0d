"""A predictor that prints in every way, in order, and fails or exits on request."""

import logging
import os
import subprocess
import sys
import threading

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("set up by print")
        subprocess.run(["/bin/sh", "-c", "echo set up by a child"], check=True)

    def predict(self, end: str = Input(default="return", choices=["return", "raise", "exit"])) -> str:
        print("1 print")
        print("2 stderr", file=sys.stderr)
        logging.getLogger("loud").warning("3 logging")
        os.write(1, b"4 native\n")
        subprocess.run(["/bin/sh", "-c", "echo 5 child; echo 6 child stderr >&2"], check=True)
        thread = threading.Thread(target=print, args=("7 thread",))
        thread.start()
        thread.join()
        if end == "raise":
            raise ValueError("lost my voice")
        if end == "exit":
            sys.exit("gone home")
        return os.environ["GREETING"]
