"""Mosec, as https://mosecorg.github.io/mosec says that it is fastest."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

from typing import Any

from mosec import Server, SSEWorker, Worker
from msgspec import json

from benchmarks.rivals.model import BATCH, Model, batched, streamed, window

# As short as it can be, as a batch fills while the one before is computed: 0 stands for Mosec's own 10; see README.md.
WINDOW = 1
"""Milliseconds that a batch waits for company (reference/interface: `max_wait_time`)."""


class Json(Worker):
    """reference/worker: `serialize` may be one's own; the built-in one indents what it writes, for readers."""

    def deserialize(self, data: bytes) -> Any:
        return json.decode(data)

    def serialize(self, data: Any) -> bytes:
        return json.encode(data)


class One(Json):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: dict[str, Any]) -> Any:
        return self.model.one(data)


class Many(Json):
    """reference/interface: with `max_batch_size` > 1 `forward` gets a list, and answers with one as long."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: list[dict[str, Any]]) -> list[Any]:
        return self.model.many(data)


class Stream(SSEWorker):
    """reference/worker: a stream is server-sent events, each by one call."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, data: dict[str, Any]) -> str:
        for piece in self.model.stream(data):
            self.send_stream_event(piece)
        return ""


if __name__ == "__main__":
    server = Server()
    # One process has the model, as one of ours has (`num`).
    if streamed():
        server.append_worker(Stream, num=1)
    elif batched():
        server.append_worker(Many, num=1, max_batch_size=BATCH, max_wait_time=window(WINDOW))
    else:
        server.append_worker(One, num=1)
    server.run()
