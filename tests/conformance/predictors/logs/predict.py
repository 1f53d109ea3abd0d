import logging
import os
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from io import StringIO

from cog import BasePredictor

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)


class Predictor(BasePredictor):
    def predict(self, how: str) -> str:
        print("before", flush=True)
        match how:
            case "print":
                print("one")
                print("two", file=sys.stderr)
                print("a", "b", sep="-", end=";\n")
            case "no newline":
                print("the end", end="")
            case "logging":
                logging.getLogger("a").info("logged")
            case "thread":
                thread = threading.Thread(target=print, args=("from a thread",))
                thread.start()
                thread.join()
            case "redirected":
                with redirect_stdout(StringIO()) as caught:
                    print("caught")
                return caught.getvalue()
            case "subprocess":
                subprocess.run(["echo", "from a child"], check=True)
            case "native":
                os.write(1, b"from native code\n")
            case "unicode":
                print("žluťoučký 🐎")
            case "carriage":
                for number in range(3):
                    print(f"\r{number}", end="", file=sys.stderr)
                print(file=sys.stderr)
            case "much":
                for number in range(2000):
                    print(f"line {number}")
            case "writelines":
                sys.stdout.writelines(["a\n", "b\n"])
            case "isatty":
                return f"{sys.stdout.isatty()} {sys.stdout.encoding}"
        return "done"
