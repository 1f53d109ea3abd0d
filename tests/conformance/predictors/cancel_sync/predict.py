import subprocess
import time

from cog import BasePredictor, CancelationException


def mark(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


class Predictor(BasePredictor):
    def predict(self, marks: str, how: str = "") -> str:
        print("begun")
        mark(marks, "begun;")
        began = time.monotonic()
        try:
            match how:
                case "busy":
                    while time.monotonic() < began + 20:
                        pass
                case "sleep":
                    time.sleep(3)
                case "subprocess":
                    subprocess.run(["sleep", "3"], check=True)
                case _:
                    return "fine"
        except CancelationException:
            mark(marks, "interrupted;" if time.monotonic() < began + 2.5 else "slept through;")
            raise
        except Exception:
            mark(marks, "taken for an error;")
            raise
        finally:
            mark(marks, "cleaned up;")
        return "ran to its end"
