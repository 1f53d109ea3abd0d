"""What a rival's server serves: a predictor's own code, called as our worker calls it."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any

from benchmarks.bare import predictor

FOLDER = "RIVAL_MODEL"
PORT = "RIVAL_PORT"
WINDOW = "RIVAL_WINDOW"
"""Milliseconds that a batch waits for company, for who wants to try another than each has."""
BATCH = 32
"""At most: what minilm itself says, and no rival gets less."""


class Model:
    """A predictor after its set-up."""

    def __init__(self) -> None:
        self._predictor = predictor(folder())
        # Only now can it be found: `predictor` has put our `cog` on the path.
        from cog import FieldInfo
        from cog.scope import Scope, scoped
        from cog.shares import Shares

        self._scoped, self._scope, self._shares = scoped, Scope, Shares
        described = {name: each.default for name, each in signature(self._predictor.predict).parameters.items()}
        self._defaults = {name: each.default for name, each in described.items() if isinstance(each, FieldInfo)}

    def one(self, inputs: dict[str, Any]) -> Any:
        return self._predictor.predict(**{**self._defaults, **inputs})

    def stream(self, inputs: dict[str, Any]) -> Iterator[str]:
        yield from self.one(inputs)

    def many(self, inputs: list[dict[str, Any]]) -> list[Any]:
        """In one call if the predictor has one for that."""
        if not hasattr(self._predictor, "predict_batch"):
            return [self.one(each) for each in inputs]
        shares = self._shares()
        shares.renew(len(inputs), lambda _: nullcontext())
        with self._scoped(self._scope(shares)):
            return self._predictor.predict_batch(inputs)


def folder() -> Path:
    return Path(os.environ[FOLDER])


def port() -> int:
    return int(os.environ[PORT])


def window(milliseconds: int) -> int:
    return int(os.environ.get(WINDOW, milliseconds))


def batched() -> bool:
    """Whether this predictor gains from company, as far as its source says; nothing of it is imported."""
    return "def predict_batch" in (folder() / "predict.py").read_text()


def streamed() -> bool:
    return "Iterator[" in (folder() / "predict.py").read_text()
