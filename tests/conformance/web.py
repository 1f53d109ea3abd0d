"""A server of files on this host: what predictors fetch from, and what the oracle uploads to."""

from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

FILES: Final[dict[str, bytes]] = {
    "/note.txt": b"a note",
    "/photo.png": b"\x89PNG not really",
    "/two%20words.txt": b"two words",
    "/bare": b"no suffix",
    "/large.bin": b"x" * 300_000,
}


class Web:
    """Answers while `serving` lasts."""

    def __init__(self, url: str, uploaded: dict[str, bytes]) -> None:
        self.url = url
        self.uploaded = uploaded


@contextmanager
def serving() -> Generator[Web]:
    uploaded: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/elsewhere.txt":
                self.send_response(302)
                self.send_header("Location", "/note.txt")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif (content := FILES.get(path)) is not None:
                self._answer(200, content)
            else:
                self._answer(404, b"nothing here")

        def do_PUT(self) -> None:
            uploaded[self.path] = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(200, b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Web(f"http://127.0.0.1:{server.server_port}", uploaded)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
