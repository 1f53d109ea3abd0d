"""LitServe, set up as https://lightning.ai/docs/litserve describes its fastest configuration."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

from collections.abc import Iterator
from typing import Any

import litserve

from benchmarks.rivals.model import BATCH, Model, batch_window, has_batches, is_streaming, server_port

# LitServe's own default; it costs 64 clients nothing, as a batch fills while the one before is computed; see README.md.
WINDOW = 0
"""Milliseconds that a batch waits for more requests (features/batching: `batch_timeout`)."""


class Plain(litserve.LitAPI):
    """A predictor that answers in one piece."""

    def setup(self, device: str) -> None:
        """Load the predictor."""
        self.model = Model()

    def predict(self, x: Any) -> Any:
        # With max_batch_size > 1 it is a list (features/batching).
        """Answer one input, or a batch of them."""
        return self.model.many(x) if isinstance(x, list) else self.model.one(x)


class Stream(litserve.LitAPI):
    """A predictor that yields its output (features/streaming: `predict` and `encode_response` are generators)."""

    def setup(self, device: str) -> None:
        """Load the predictor."""
        self.model = Model()

    def predict(self, x: Any) -> Iterator[str]:
        """Yield the pieces of an output."""
        yield from self.model.stream(x)

    # Without a type of what it returns: FastAPI would make a response model of that, and fail.
    def encode_response(self, output: Iterator[str]):
        """Yield the pieces as they are."""
        yield from output


def api() -> litserve.LitAPI:
    """Return the API for the predictor."""
    if is_streaming():
        return Stream(stream=True)
    if has_batches():
        return Plain(max_batch_size=BATCH, batch_timeout=batch_window(WINDOW) / 1000)
    return Plain()


if __name__ == "__main__":
    # api-reference/litserver: `fast_queue` is ZeroMQ in the place of multiprocessing's queues, for high rates.
    # One worker has the model, as one of ours has; one API server is its default for one worker.
    server = litserve.LitServer(api(), accelerator="cpu", workers_per_device=1, fast_queue=True, timeout=60)
    server.run(host="127.0.0.1", port=server_port(), log_level="warning", access_log=False, generate_client_file=False)
