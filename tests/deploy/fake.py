"""A gateway that answers as it is told, and remembers what it was asked: for what a live one says only by chance."""

import hashlib
import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import json

from benchmarks.stack import SAMOVAR

LIMIT = 60
PUSH = "p1"
DOCUMENT = {
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "required": ["text", "image"],
                "properties": {
                    "text": {"type": "string", "x-order": 0},
                    "image": {"type": "string", "format": "uri", "x-order": 1},
                    "n": {"type": "integer", "default": 1, "x-order": 2},
                },
            },
            "Output": {"type": "string"},
        }
    }
}


class FakeGateway:
    """Of the one model `me/mine`."""

    def __init__(self) -> None:
        self.url = ""
        self.versions: list[str] = []
        """Newest first."""
        self.asked: list[tuple[str, str]] = []
        self.uploaded: list[bytes] = []
        """Archives, and files."""
        self.inputs: list[dict[str, Any]] = []
        """Of predictions."""
        self.error: str | None = None
        """Why the next push fails."""
        self.log = "== fetch\n== setup\n"
        self.hold = threading.Event()
        """Unset: the build goes on for ever."""
        self.hold.set()
        self.canceled = threading.Event()
        self.takes_files = True
        self.runners: dict[str, Any] = {"runners": [], "queues": [], "pushes": 0}
        self.reasons: list[str] = []
        """Why a prediction has not begun, one at each look, or all on its stream; then it succeeds."""
        self.deliveries: list[dict[str, Any]] = []
        """To webhooks."""
        self.streams = False
        """Whether a prediction has a stream."""
        self.listed: list[str] = []
        """Ids of all predictions, newest first."""
        self.queries: list[str] = []
        """Of the requests for that list."""
        self.resumed: list[str | None] = []
        """Where each connection to the feed of predictions went on."""
        self._pushed = ""
        self.more: dict[tuple[str, str], Any] = {}
        """What else is answered with 200, by method and path."""
        self.bodies: dict[tuple[str, str], Any] = {}
        """With what those were asked last."""

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((method, path))
        if (method, path) in self.more:
            self.bodies[method, path] = json.decode(body) if body else None
            return 200, self.more[method, path]
        match [method, *path.strip("/").split("/")]:
            case ["GET", "v1", "models", "me", "mine"]:
                latest = self._version(self.versions[0]) if self.versions else None
                return (200, {"owner": "me", "name": "mine", "latest_version": latest})
            case ["GET", "v1", "models", "me", "mine", "versions"]:
                return 200, {"results": [self._version(id) for id in self.versions], "next": None, "previous": None}
            case ["POST", "v1", "models", "me", "mine", "versions"]:
                return self._push(body, headers)
            case ["GET", "v1", "models", "me", "mine", "versions", id] if id in self.versions:
                return 200, self._version(id)
            case ["GET", "v1", "models", "me", "mine", "versions", id, "logs"] if id in self.versions:
                return 200, self.log
            case ["DELETE", "v1", "models", "me", "mine", *_]:
                return 202, None
            case ["GET", "v1", "pushes", _]:
                return 200, self._shown(final=self.hold.is_set() or self.canceled.is_set())
            case ["POST", "v1", "pushes", _, "cancel"]:
                self.canceled.set()
                return 200, self._shown(final=True)
            case ["POST", "v1", "predictions"] | ["GET", "v1", "predictions", _]:
                if body:
                    self.inputs.append(json.decode(body)["input"])
                return 200, self._prediction()
            case ["GET", "v1", "predictions"]:
                made = {"model": "me/mine", "status": "succeeded", "created_at": "2026-01-31T12:00:00Z"}
                return 200, {"results": [made | {"id": id} for id in self.listed], "next": None}
            case ["POST", "v1", "predictions", _, "cancel"]:
                return 200, {"status": "canceled"}
            case ["GET", "v1", "runners"]:
                return 200, self.runners
            case ["GET", "v1", "webhooks", "default", "secret"]:
                return 200, {"key": "whsec_old"}
            case ["POST", "v1", "webhooks", "default", "secret", "rotate"]:
                return 200, {"key": "whsec_new"}
            case ["GET", "v1", "webhooks", "deliveries"]:
                return 200, {"results": self.deliveries, "next": None, "previous": None}
            case ["GET", "v1", "webhooks", "deliveries", _] | ["POST", "v1", "webhooks", "deliveries", _, "redeliver"]:
                return 200, self.deliveries[0]
            case [_, "v1", "gc"]:
                waste = {"key": "packs/x.tar", "bytes": 1500, "reason": "no version is made of it"}
                return 200, {"count": 1, "bytes": 1500, "freed": method == "POST", "items": [waste]}
            case ["POST", "v1", "files"] if self.takes_files:
                self.uploaded.append(body)
                return 201, {"id": "f1", "urls": {"get": f"{self.url}/v1/files/f1"}}
            case _:
                return 404, {
                    "title": "Not found",
                    "detail": "The requested resource could not be found.",
                    "status": 404,
                }

    def _prediction(self) -> dict[str, Any]:
        made = {"id": "x1", "urls": {"stream": f"{self.url}/v1/streams/t"} if self.streams else {}}
        if self.reasons:
            return made | {"status": "starting", "starting": self.reasons.pop(0), "output": None}
        return made | {"status": "succeeded", "output": "made"}

    def _push(self, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        digest = hashlib.sha256(body).hexdigest()
        assert headers["samovar-digest"] == digest
        assert headers["content-type"] == "application/x-tar"
        self.uploaded.append(body)
        self._pushed = hashlib.sha256(f"me/mine\n{digest}".encode()).hexdigest()
        if not self.error:
            self.versions.insert(0, self._pushed)
        return 201, self._shown(final=False)

    def _shown(self, *, final: bool) -> dict[str, Any]:
        ended = "canceled" if self.canceled.is_set() else "failed" if self.error else "succeeded"
        urls = {"get": f"{self.url}/v1/pushes/{PUSH}", "stream": f"{self.url}/v1/streams/t"}
        return {
            "id": PUSH,
            "model": "me/mine",
            "version": self._pushed,
            "status": ended if final else "starting",
            "logs": self.log,
            "error": self.error,
            "urls": urls,
        }

    def _version(self, id: str) -> dict[str, Any]:
        return {"id": id, "created_at": "2026-11-23T12:00:00Z", "openapi_schema": DOCUMENT}


class Handler(BaseHTTPRequestHandler):
    gateway: FakeGateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/v1/streams/"):
            self._stream()
        elif self.path.startswith("/v1/runners/events"):
            self._views()
        elif self.path.startswith("/v1/predictions/events"):
            self._changes()
        else:
            self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        if query:
            self.gateway.queries.append(query)
        status, value = self.gateway.answer(self.command, path, body, headers)
        text = value.encode() if isinstance(value, str) else json.encode(value)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self) -> None:
        self._open()
        while self.gateway.reasons:
            waiting = {"status": "starting", "reason": self.gateway.reasons.pop(0)}
            self._event("status", json.encode(waiting).decode())
        self._event("status", json.encode({"status": "processing"}).decode())
        self._event("logs", self.gateway.log)
        self.gateway.hold.wait(60)
        self._event("done", "{}")

    def _views(self) -> None:
        """What there is, and once more after the hold; then the connection breaks off."""
        self._open()
        self._event("runners", json.encode(self.gateway.runners).decode())
        self.gateway.hold.wait(60)
        self._event("runners", json.encode(self.gateway.runners).decode())

    def _changes(self) -> None:
        """Of each prediction that it was made, on the first connection; on the next that it ended."""
        self.gateway.resumed.append(self.headers.get("Last-Event-ID"))
        self._open()
        for id in self.gateway.listed:
            told = {"id": id, "model": "me/mine", "status": "starting", "created_at": "2026-01-31T12:00:00Z"}
            if len(self.gateway.resumed) > 1:
                told |= {"status": "failed", "error": "no\nway", "completed_at": "2026-01-31T12:00:01Z"}
                told |= {"metrics": {"total_time": 1.0}}
            self._event("prediction", json.encode(told).decode())
        if len(self.gateway.resumed) > 1:
            self.gateway.hold.wait(60)

    def _open(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, kind: str, data: str) -> None:
        lines = "".join(f"data: {line}\n" for line in data.split("\n"))
        self.wfile.write(f"event: {kind}\nid: 1:{kind}\n{lines}\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are told by what fails."""


@contextmanager
def serving() -> Generator[FakeGateway]:
    gateway = FakeGateway()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"gateway": gateway}))
    server.daemon_threads = True
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def environment(gateway: FakeGateway) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return kept | {"SAMOVAR_URL": gateway.url, "SAMOVAR_TOKEN": "test-token"}


def samovar(gateway: FakeGateway, *words: object) -> subprocess.CompletedProcess[str]:
    command = [SAMOVAR, *map(str, words)]
    none = subprocess.DEVNULL
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment(gateway), stdin=none)
