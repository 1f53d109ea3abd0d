import subprocess
import threading
import time

from cog import BasePredictor, CancelationException


def mark(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


MARK_AND_SLEEP = 'sleep 0.3; printf "begun;" >> "$0"; exec sleep 3'


class Predictor(BasePredictor):
    """The mark is made once it really waits: an interrupt before that would prove nothing."""

    def predict(self, marks: str, how: str = "") -> str:
        print("begun")
        began = time.monotonic()
        try:
            match how:
                case "busy":
                    mark(marks, "begun;")
                    while time.monotonic() < began + 20:
                        pass
                case "sleep":
                    threading.Timer(0.3, mark, (marks, "begun;")).start()
                    time.sleep(3)
                case "subprocess":
                    subprocess.run(["sh", "-c", MARK_AND_SLEEP, marks], check=True)
                case _:
                    mark(marks, "begun;")
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
