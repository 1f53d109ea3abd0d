"""Mosec, set up as https://mosecorg.github.io/mosec describes its fastest configuration."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

from typing import Any

from mosec import Server, SSEWorker, Worker
from msgspec import json

from benchmarks.rivals.model import BATCH, Model, batch_window, has_batches, is_streaming

# As short as it can be, as a batch fills while the one before is computed: 0 stands for Mosec's own 10; see README.md.
WINDOW = 1
"""Milliseconds that a batch waits for more requests (reference/interface: `max_wait_time`)."""


class Json(Worker):
    """A worker with compact JSON.

    reference/worker: `serialize` may be overridden; the built-in one indents its output.
    """

    def deserialize(self, data: bytes) -> Any:
        """Decode the body of a request."""
        return json.decode(data)

    def serialize(self, data: Any) -> bytes:
        """Encode the body of an answer."""
        return json.encode(data)


class One(Json):
    """A predictor without batches."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: dict[str, Any]) -> Any:
        """Answer one input."""
        return self.model.one(data)


class Many(Json):
    """A predictor with batches.

    reference/interface: with `max_batch_size` > 1 `forward` gets a list, and returns one of the same length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: list[dict[str, Any]]) -> list[Any]:
        """Answer a batch of inputs."""
        return self.model.many(data)


class Stream(SSEWorker):
    """A predictor that yields its output (reference/worker: each call sends one server-sent event)."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: dict[str, Any]) -> str:
        """Send the pieces of an output."""
        for piece in self.model.stream(data):
            self.send_stream_event(piece)
        return ""


if __name__ == "__main__":
    server = Server()
    # One process has the model, as one of ours has (`num`).
    if is_streaming():
        server.append_worker(Stream, num=1)
    elif has_batches():
        server.append_worker(Many, num=1, max_batch_size=BATCH, max_wait_time=batch_window(WINDOW))
    else:
        server.append_worker(One, num=1)
    server.run()
