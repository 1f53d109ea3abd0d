"""A receiver of webhooks, as a user would run one: a plain HTTP server in its own thread."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from msgspec import Struct

from tests.live import TIMEOUT


class WebhookRequest(Struct, frozen=True):
    headers: dict[str, str]
    body: str


class WebhookReceiver:
    def __init__(self, url: str) -> None:
        self.url = url
        self._requests: list[WebhookRequest] = []
        self._condition = threading.Condition()

    def add(self, received: WebhookRequest) -> None:
        with self._condition:
            self._requests.append(received)
            self._condition.notify_all()

    def wait_for(self, count: int) -> list[WebhookRequest]:
        """Wait until `count` requests have come, and return all."""
        with self._condition:
            assert self._condition.wait_for(lambda: len(self._requests) >= count, TIMEOUT), (
                f"{len(self._requests)} came"
            )
            return list(self._requests)


@contextmanager
def run_receiver() -> Generator[WebhookReceiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            receiver.add(WebhookRequest({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: a failed test says enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = WebhookReceiver(f"http://127.0.0.1:{server.server_port}/hook")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
