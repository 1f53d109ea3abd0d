"""A predictor for a rival's server, called as our worker calls it."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any

from benchmarks.bare_loop import load_predictor

FOLDER = "RIVAL_MODEL"
PORT = "RIVAL_PORT"
WINDOW = "RIVAL_WINDOW"
"""Environment variable that overrides the milliseconds that a batch waits for more requests."""
BATCH = 32
"""The largest batch, as minilm itself declares it; every rival gets the same."""


class Model:
    """A predictor after its set-up."""

    def __init__(self) -> None:
        self._predictor = load_predictor(model_folder())
        # It can be imported only now: `load_predictor` has put our `cog` on the path.
        from cog import FieldInfo
        from cog.call_metrics import CallMetrics
        from cog.scope import Scope, scoped

        self._scoped, self._scope, self._call_metrics = scoped, Scope, CallMetrics
        parameters = {name: each.default for name, each in signature(self._predictor.predict).parameters.items()}
        self._defaults = {name: each.default for name, each in parameters.items() if isinstance(each, FieldInfo)}

    def one(self, inputs: dict[str, Any]) -> Any:
        """Return the output of one input."""
        return self._predictor.predict(**{**self._defaults, **inputs})

    def stream(self, inputs: dict[str, Any]) -> Iterator[str]:
        """Yield the pieces of an output."""
        yield from self.one(inputs)

    def many(self, inputs: list[dict[str, Any]]) -> list[Any]:
        """Return the outputs of several inputs, in one call if the predictor has one for that."""
        if not hasattr(self._predictor, "predict_batch"):
            return [self.one(each) for each in inputs]
        metrics = self._call_metrics()
        metrics.begin(len(inputs), lambda _: nullcontext())
        with self._scoped(self._scope(metrics)):
            return self._predictor.predict_batch(inputs)


def model_folder() -> Path:
    """Return the predictor's folder."""
    return Path(os.environ[FOLDER])


def server_port() -> int:
    """Return the port to listen on."""
    return int(os.environ[PORT])


def batch_window(milliseconds: int) -> int:
    """Return the milliseconds that a batch waits, which the environment may override."""
    return int(os.environ.get(WINDOW, milliseconds))


def has_batches() -> bool:
    """Return whether the predictor has batches, by its source; nothing of it is imported."""
    return "def predict_batch" in (model_folder() / "predict.py").read_text()


def is_streaming() -> bool:
    """Return whether the predictor yields its output, by its source."""
    return "Iterator[" in (model_folder() / "predict.py").read_text()
