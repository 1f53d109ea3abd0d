"""A receiver of webhooks, as a user would run one: a plain HTTP server in a thread of its own."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from msgspec import Struct

from tests.live import LIMIT


class Received(Struct, frozen=True):
    headers: dict[str, str]
    body: str


class Receiver:
    def __init__(self, url: str) -> None:
        self.url = url
        self._said: list[Received] = []
        self._changed = threading.Condition()

    def hear(self, received: Received) -> None:
        with self._changed:
            self._said.append(received)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Received]:
        """All that came, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._said) >= count, LIMIT), f"{len(self._said)} came"
            return list(self._said)


@contextmanager
def receiving() -> Generator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            receiver.hear(Received({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests say what they saw themselves."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
