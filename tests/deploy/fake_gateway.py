"""A gateway that answers as a test tells it and records its requests, for what a live one says only by chance."""

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import json

PUSH_ID = "p1"
OPENAPI_DOCUMENT = {
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
    """A gateway with one model, `me/mine`."""

    def __init__(self) -> None:
        self.url = ""
        self.token = "test-token"
        self.versions: list[str] = []
        """Newest first."""
        self.requests: list[tuple[str, str]] = []
        self.uploads: list[bytes] = []
        """The bodies of archives and files."""
        self.inputs: list[dict[str, Any]] = []
        """The inputs of predictions."""
        self.push_error: str | None = None
        """Why the next push fails; None: it succeeds."""
        self.log = "== fetch\n== setup\n"
        self.may_finish = threading.Event()
        """Unset: the build goes on forever."""
        self.may_finish.set()
        self.canceled = threading.Event()
        self.accepts_files = True
        self.runners: dict[str, Any] = {"runners": [], "queues": [], "pushes": 0}
        self.starting_reasons: list[str] = []
        """Why a prediction has not started: one for each read, or all on its stream; then it succeeds."""
        self.deliveries: list[dict[str, Any]] = []
        """Deliveries to webhooks."""
        self.has_stream = False
        """Whether a prediction has a stream."""
        self.prediction_ids: list[str] = []
        """Ids of all predictions, newest first."""
        self.queries: list[str] = []
        """The queries of requests for that list."""
        self.last_event_ids: list[str | None] = []
        """The event after which each connection to the account feed resumed."""
        self._version_id = ""
        self.responses: dict[tuple[str, str], Any] = {}
        """Other responses with status 200, by method and path."""
        self.bodies: dict[tuple[str, str], Any] = {}
        """The last request body of each of those."""

    @property
    def request_lines(self) -> list[str]:
        """The method and path of each request."""
        return [f"{method} {path}" for method, path in self.requests]

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        self.requests.append((method, path))
        if (method, path) in self.responses:
            self.bodies[method, path] = json.decode(body) if body else None
            return 200, self.responses[method, path]
        match [method, *path.strip("/").split("/")]:
            case ["GET", "v1", "models", "me", "mine"]:
                latest = self._describe_version(self.versions[0]) if self.versions else None
                return (200, {"owner": "me", "name": "mine", "latest_version": latest})
            case ["GET", "v1", "models", "me", "mine", "versions"]:
                return 200, {
                    "results": [self._describe_version(id) for id in self.versions],
                    "next": None,
                    "previous": None,
                }
            case ["POST", "v1", "models", "me", "mine", "versions"]:
                return self._accept_push(body, headers)
            case ["GET", "v1", "models", "me", "mine", "versions", id] if id in self.versions:
                return 200, self._describe_version(id)
            case ["GET", "v1", "models", "me", "mine", "versions", id, "logs"] if id in self.versions:
                return 200, self.log
            case ["DELETE", "v1", "models", "me", "mine", *_]:
                return 202, None
            case ["GET", "v1", "pushes", _]:
                return 200, self._describe_push(final=self.may_finish.is_set() or self.canceled.is_set())
            case ["POST", "v1", "pushes", _, "cancel"]:
                self.canceled.set()
                return 200, self._describe_push(final=True)
            case ["POST", "v1", "predictions"] | ["GET", "v1", "predictions", _]:
                if body:
                    self.inputs.append(json.decode(body)["input"])
                return 200, self._describe_prediction()
            case ["GET", "v1", "predictions"]:
                prediction = {"model": "me/mine", "status": "succeeded", "created_at": "2026-01-31T12:00:00Z"}
                return 200, {"results": [prediction | {"id": id} for id in self.prediction_ids], "next": None}
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
            case ["POST", "v1", "files"] if self.accepts_files:
                self.uploads.append(body)
                return 201, {"id": "f1", "urls": {"get": f"{self.url}/v1/files/f1"}}
            case _:
                return 404, {
                    "title": "Not found",
                    "detail": "The requested resource could not be found.",
                    "status": 404,
                }

    def _describe_prediction(self) -> dict[str, Any]:
        prediction = {"id": "x1", "urls": {"stream": f"{self.url}/v1/streams/t"} if self.has_stream else {}}
        if self.starting_reasons:
            return prediction | {"status": "starting", "starting": self.starting_reasons.pop(0), "output": None}
        return prediction | {"status": "succeeded", "output": "made"}

    def _accept_push(self, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        digest = hashlib.sha256(body).hexdigest()
        assert headers["samovar-digest"] == digest
        assert headers["content-type"] == "application/x-tar"
        self.uploads.append(body)
        self._version_id = hashlib.sha256(f"me/mine\n{digest}".encode()).hexdigest()
        if not self.push_error:
            self.versions.insert(0, self._version_id)
        return 201, self._describe_push(final=False)

    def _describe_push(self, *, final: bool) -> dict[str, Any]:
        status = "canceled" if self.canceled.is_set() else "failed" if self.push_error else "succeeded"
        urls = {"get": f"{self.url}/v1/pushes/{PUSH_ID}", "stream": f"{self.url}/v1/streams/t"}
        return {
            "id": PUSH_ID,
            "model": "me/mine",
            "version": self._version_id,
            "status": status if final else "starting",
            "logs": self.log,
            "error": self.push_error,
            "urls": urls,
        }

    def _describe_version(self, id: str) -> dict[str, Any]:
        return {"id": id, "created_at": "2026-11-23T12:00:00Z", "openapi_schema": OPENAPI_DOCUMENT}


class RequestHandler(BaseHTTPRequestHandler):
    gateway: FakeGateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/v1/streams/"):
            self._stream_build()
        elif self.path.startswith("/v1/runners/events"):
            self._stream_runners()
        elif self.path.startswith("/v1/predictions/events"):
            self._stream_predictions()
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

    def _stream_build(self) -> None:
        self._start_stream()
        while self.gateway.starting_reasons:
            waiting = {"status": "starting", "reason": self.gateway.starting_reasons.pop(0)}
            self._write_event("status", json.encode(waiting).decode())
        self._write_event("status", json.encode({"status": "processing"}).decode())
        self._write_event("logs", self.gateway.log)
        self.gateway.may_finish.wait(60)
        self._write_event("done", "{}")

    def _stream_runners(self) -> None:
        """Send the runners, and once more when they may finish; then the connection breaks off."""
        self._start_stream()
        self._write_event("runners", json.encode(self.gateway.runners).decode())
        self.gateway.may_finish.wait(60)
        self._write_event("runners", json.encode(self.gateway.runners).decode())

    def _stream_predictions(self) -> None:
        """Send that each prediction was created on the first connection, and that it ended on the next one."""
        self.gateway.last_event_ids.append(self.headers.get("Last-Event-ID"))
        self._start_stream()
        for id in self.gateway.prediction_ids:
            change = {"id": id, "model": "me/mine", "status": "starting", "created_at": "2026-01-31T12:00:00Z"}
            if len(self.gateway.last_event_ids) > 1:
                change |= {"status": "failed", "error": "no\nway", "completed_at": "2026-01-31T12:00:01Z"}
                change |= {"metrics": {"total_time": 1.0}}
            self._write_event("prediction", json.encode(change).decode())
        if len(self.gateway.last_event_ids) > 1:
            self.gateway.may_finish.wait(60)

    def _start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def _write_event(self, kind: str, data: str) -> None:
        lines = "".join(f"data: {line}\n" for line in data.split("\n"))
        self.wfile.write(f"event: {kind}\nid: 1:{kind}\n{lines}\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a failed test says enough."""


@contextmanager
def run_fake_gateway() -> Generator[FakeGateway]:
    gateway = FakeGateway()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (RequestHandler,), {"gateway": gateway}))
    server.daemon_threads = True
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.may_finish.set()
        server.shutdown()
        thread.join()
        server.server_close()
