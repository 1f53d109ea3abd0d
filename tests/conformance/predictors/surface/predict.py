import io
import pathlib
from dataclasses import is_dataclass
from typing import Any

import cog
from cog import BaseModel, BasePredictor, BaseRunner, CancelationException, File, Input, Path, Secret, URLFile, URLPath


class Made(BaseModel):
    text: str
    number: int = 3


class More(Made):
    last: str = "z"


class Hand(BaseModel, auto_dataclass=False):
    def __init__(self) -> None:
        self.text = "by hand"


class Frozen(BaseModel, frozen=True):
    text: str


def raised(call: Any) -> str:
    try:
        return f"fine {call()!r}"
    except BaseException as error:
        return type(error).__name__


NAMES = [
    *("BaseRunner", "BasePredictor", "BaseModel", "Opaque", "Input", "Path", "Secret", "File", "URLFile", "URLPath"),
    *("ConcatenateIterator", "AsyncConcatenateIterator", "CancelationException", "current_scope", "streaming"),
    *("concurrent", "__version__"),
]
TOLD = {
    "public names": lambda: [name for name in NAMES if not hasattr(cog, name)],
    "classes": lambda: [
        issubclass(Path, pathlib.PosixPath),
        issubclass(URLPath, pathlib.PosixPath),
        issubclass(File, io.IOBase),
        issubclass(URLFile, io.IOBase),
        issubclass(BasePredictor, BaseRunner),
        issubclass(CancelationException, Exception),
        issubclass(CancelationException, BaseException),
    ],
    "model": lambda: [is_dataclass(Made), repr(Made("a")), Made("a") == Made("a", 3), repr(More("a", 1))],
    "model fields": lambda: raised(lambda: Made()),
    "manual model": lambda: [is_dataclass(Hand), Hand().text],
    "frozen model": lambda: raised(lambda: setattr(Frozen("a"), "text", "b")),
    "secret": lambda: [str(Secret("a")), repr(Secret("a")), str(Secret()), Secret("a").get_secret_value()],
    "empty secret": lambda: [str(Secret("")), repr(Secret(None)), Secret("a") == Secret("a")],
    "frozen secret": lambda: raised(lambda: setattr(Secret("a"), "secret_value", "b")),
    "path": lambda: [repr(Path("a") / "b"), str(Path("a", "b")), type(Path("a").parent).__name__],
    "path validate": lambda: [str(Path.validate("a/b")), type(Path.validate("a")).__name__],
    "path of a URL": lambda: [type(Path.validate("http://127.0.0.1:9/a.txt")).__name__],
    "path of data": lambda: Path.validate("data:text/plain,words").convert().read_text(),
    "file validate": lambda: File.validate("data:text/plain;base64,d29yZHM=").read().decode(),
    "file of nothing": lambda: raised(lambda: File.validate("nothing")),
    "url file": lambda: URLFile("http://127.0.0.1:9/folder/a.txt?b=c").name,
    "url file of ftp": lambda: raised(lambda: URLFile("ftp://127.0.0.1/a")),
    "input factory": lambda: raised(lambda: Input(default_factory=list)),
    "input positional": lambda: [Input(3).default, Input(description="d").description],
    "concurrent zero": lambda: raised(lambda: cog.concurrent(max=0)),
    "concurrent text": lambda: raised(lambda: cog.concurrent(max="2")),
    "concurrent sync": lambda: raised(lambda: cog.concurrent(max=2)(lambda: None)),
    "concurrent bare": lambda: callable(cog.concurrent(raised)),
    "streaming": lambda: cog.streaming(raised) is raised and cog.streaming()(raised) is raised,
    "no such name": lambda: raised(lambda: cog.no_such_name),
    "opaque": lambda: repr(cog.Opaque),
}


class Predictor(BasePredictor):
    def predict(self, what: str) -> Any:
        return TOLD[what]()
