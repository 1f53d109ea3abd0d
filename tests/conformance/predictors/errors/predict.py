import sys

from cog import BasePredictor


class Odd(BaseException):
    pass


def deep(times: int) -> str:
    return deep(times - 1) if times else str(1 / 0)


class Predictor(BasePredictor):
    def predict(self, how: str) -> str:
        print("so far so good")
        match how:
            case "text":
                raise ValueError("bad prompt")
            case "no text":
                raise KeyError
            case "key":
                raise KeyError("name")
            case "lines":
                raise RuntimeError("first\nsecond")
            case "chained":
                try:
                    deep(3)
                except ZeroDivisionError as error:
                    raise ValueError("cannot divide") from error
            case "group":
                raise ExceptionGroup("several", [ValueError("a"), TypeError("b")])
            case "assert":
                assert how == "", "never equal"
            case "sys.exit":
                sys.exit(3)
            case "base":
                raise Odd("odd")
            case "unicode":
                raise ValueError("žluťoučký 🐎")
            case "wrong type":
                return object()
            case _:
                print("and done")
        return "fine"
