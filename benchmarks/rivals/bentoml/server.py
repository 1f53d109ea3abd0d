"""BentoML, set up as https://docs.bentoml.com describes its fastest configuration."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false, reportRedeclaration=false

import os
import sys
from collections.abc import Iterator
from typing import Any

import bentoml

from benchmarks.rivals.model import BATCH, Model, has_batches, is_streaming, server_port

OPTIONS: dict[str, Any] = {
    # One process has the model, as one of ours has (build-with-bentoml/parallelize-requests: `workers`).
    "workers": 1,
    "traffic": {"timeout": 60},
    # reference/bentoml/configurations: a line of log for each request is what the others do not write either.
    "logging": {"access": {"enabled": False}},
    "metrics": {"enabled": False},
}

if is_streaming():

    @bentoml.service(**OPTIONS)
    class Rival:
        """get-started/streaming: a generator of strings."""

        def __init__(self) -> None:
            self.model = Model()

        @bentoml.api
        def predict(self, inputs: dict[str, Any], /) -> Iterator[str]:
            yield from self.model.stream(inputs)

elif has_batches():

    @bentoml.service(**OPTIONS)
    class Rival:
        """get-started/adaptive-batching: the dispatcher finds the window itself, from what it has seen."""

        def __init__(self) -> None:
            self.model = Model()

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
        def predict(self, inputs: list[dict[str, Any]]) -> list[Any]:
            return self.model.many(inputs)

else:

    @bentoml.service(**OPTIONS)
    class Rival:
        def __init__(self) -> None:
            self.model = Model()

        @bentoml.api
        def predict(self, inputs: dict[str, Any], /) -> Any:
            return self.model.one(inputs)


if __name__ == "__main__":
    serve = ["-m", "bentoml", "serve", "server:Rival", "--host", "127.0.0.1", "--port", str(server_port())]
    os.execv(sys.executable, [sys.executable, *serve])
