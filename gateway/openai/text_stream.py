"""The text of an answer, out of the states of its prediction."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, cast

from msgspec import Raw, json

from gateway.openai.problems import ModelFailed
from schemas.prediction import FINAL, Prediction

NO_TEXT: Final = "The model's output is no text."
DIVERGED: Final = "The model was started anew, and its answer came out differently. Ask again."


class Telling:
    """One answer: feed it states, get the text that is new; nothing that belongs to `cuts`, nor what follows them."""

    def __init__(self, cuts: Sequence[str] = ()) -> None:
        self.cut = False
        """The answer has come to its end before the prediction did."""
        self._cuts = cuts
        self._run: int | None = None
        self._chunks = 0
        self._pieces: list[str] = []
        self._held = ""

    def next(self, p: Prediction) -> str:
        """Raises `ModelFailed` when that is not an answer."""
        if self.cut:
            return ""
        new = self._new(p) if p.many or p.status in FINAL else ""
        return self._uncut(self._held + new, last=p.status in FINAL) if self._cuts else new

    def _new(self, p: Prediction) -> str:
        run = p.run.at if p.run else 0
        if self._chunks and run != self._run:
            if (new := self._again(p)) is None:
                return ""
        else:
            new = "".join(chain.from_iterable(map(_texts, p.chunks.since(self._chunks))))
        self._run, self._chunks = run, len(p.chunks)
        self._pieces.append(new)
        return new

    def _again(self, p: Prediction) -> str | None:
        """Of a run that began after another one had said something; None: it has not said as much yet."""
        said, text = "".join(self._pieces), "".join(chain.from_iterable(map(_texts, p.chunks)))
        if text.startswith(said):
            return text[len(said) :]
        if said.startswith(text) and p.status not in FINAL:
            return None
        raise ModelFailed(DIVERGED)

    def _uncut(self, text: str, *, last: bool) -> str:
        places = [place for each in self._cuts if (place := text.find(each)) >= 0]
        if places:
            self.cut, self._held = True, ""
            return text[: min(places)]
        kept = 0 if last else max(_begun(text, each) for each in self._cuts)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _begun(text: str, cut: str) -> int:
    """How many characters at the end of `text` may become `cut`."""
    return next((size for size in range(min(len(cut) - 1, len(text)), 0, -1) if text.endswith(cut[:size])), 0)


def _texts(chunk: Raw) -> list[str]:
    """A text, or a list of them. Raises `ModelFailed`."""
    value: Any = json.decode(bytes(chunk))
    if value is None:
        return []
    parts: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    texts = [each for each in parts if isinstance(each, str)]
    if len(texts) < len(parts):
        raise ModelFailed(NO_TEXT)
    return texts
