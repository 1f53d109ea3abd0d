"""The text of an answer, extracted from the states of its prediction."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, cast

from msgspec import Raw, json

from gateway.openai.problems import ModelFailed
from schemas.prediction import FINAL, Prediction

NOT_TEXT: Final = "The model's output is not text."
DIVERGED: Final = "The model was restarted, and its answer came out differently. Send the request again."


class TextStream:
    """Turns the states of one prediction into the new text of its answer.

    Text from the first of `stops` on is left out; what may be the start of one is held back until it is clear.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.is_stopped = False
        """Whether the answer has ended before the prediction did."""
        self._stops = stops
        self._run: int | None = None
        self._chunks = 0
        self._pieces: list[str] = []
        self._held_back = ""

    def next_text(self, p: Prediction) -> str:
        """Return the text that a state adds.

        Raises `ModelFailed` for an output that is not text.
        """
        if self.is_stopped:
            return ""
        new = self._new_text(p) if p.many or p.status in FINAL else ""
        return self._before_stop(self._held_back + new, last=p.status in FINAL) if self._stops else new

    def _new_text(self, p: Prediction) -> str:
        run = p.run.at if p.run else 0
        if self._chunks and run != self._run:
            if (new := self._text_of_new_run(p)) is None:
                return ""
        else:
            new = "".join(chain.from_iterable(map(_chunk_texts, p.chunks.since(self._chunks))))
        self._run, self._chunks = run, len(p.chunks)
        self._pieces.append(new)
        return new

    def _text_of_new_run(self, p: Prediction) -> str | None:
        """Return the text that a repeated attempt adds; None while it has not produced as much as the one before.

        Raises `ModelFailed` if it differs.
        """
        before, text = "".join(self._pieces), "".join(chain.from_iterable(map(_chunk_texts, p.chunks)))
        if text.startswith(before):
            return text[len(before) :]
        if before.startswith(text) and p.status not in FINAL:
            return None
        raise ModelFailed(DIVERGED)

    def _before_stop(self, text: str, *, last: bool) -> str:
        ends = [end for each in self._stops if (end := text.find(each)) >= 0]
        if ends:
            self.is_stopped, self._held_back = True, ""
            return text[: min(ends)]
        undecided = 0 if last else max(_partial_length(text, each) for each in self._stops)
        self._held_back = text[len(text) - undecided :]
        return text[: len(text) - undecided]


def _partial_length(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may become `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


def _chunk_texts(chunk: Raw) -> list[str]:
    """Return a chunk as texts: one, or a list of them.

    Raises `ModelFailed`.
    """
    value: Any = json.decode(bytes(chunk))
    if value is None:
        return []
    parts: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    texts = [each for each in parts if isinstance(each, str)]
    if len(texts) < len(parts):
        raise ModelFailed(NOT_TEXT)
    return texts
