"""A predictor run by coglet's own server, as an image that `cog build` makes would run it."""

import base64
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
from msgspec import json

from tests.conformance.outcome import Call, Outcome
from tests.conformance.scene import PATIENCE, SOON, Scene, alive, describe_content, until
from tests.conformance.signatures import inspect_inputs
from tests.conformance.web import Web

SERVE: Final = (
    "import sys, coglet; coglet.server.serve(predictor_ref=sys.argv[1], host='127.0.0.1', port=int(sys.argv[2]),"
    " is_train=sys.argv[3] == 'train', upload_url=sys.argv[4] or None, output_temp_dir_base=sys.argv[5])"
)
_PREFIX: Final = re.compile(r"^((Prediction|Async prediction|Training) failed: |Generator iteration error: )+")
_SETUP_LINE: Final = "[coglet::setup] "
_SETUP_TARGETS: Final = ("coglet::setup", "coglet::user")
_LAST_LINE: Final = "[coglet] Server ready"


class Oracle:
    """One server; it and all that it started are gone after `close`."""

    def __init__(self, python: Path, scene: Scene, document: bytes | None, web: Web) -> None:
        self._python = python
        self._scene = scene
        self._web = web
        self._ids = count(1)
        if document is not None:
            (scene.folder / ".cog").mkdir(exist_ok=True)
            (scene.folder / ".cog" / "openapi_schema.json").write_bytes(document)
        port = _free_port()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=scene.case.patience, trust_env=False)
        environment = {**scene.environment, "PATH": f"{python.parent}:{os.environ['PATH']}"}
        mode = "train" if scene.case.train else "predict"
        self._upload = f"{web.url}/upload/{scene.case.predictor}" if scene.case.upload else ""
        arguments = [scene.case.ref, str(port), mode, self._upload, str(scene.temporary)]
        self._server_log = scene.folder.parent / "oracle.log"
        self._log = open(self._server_log, "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-c", SERVE, *arguments],
            cwd=scene.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._set_up: dict[str, Any] = {}

    def call(self, call: Call) -> Outcome:
        self._await_setup()
        match call.kind:
            case "setup":
                return self._setup()
            case "health":
                return self._health()
            case "stop":
                return self._stop()
            case "document":
                return Outcome(status="served", output=self._http.get("/openapi.json").json())
            case "signature":
                name = self._scene.case.ref.partition(":")[2]
                return Outcome(status="told", output=inspect_inputs(self._python, self._scene.folder, name))
            case "predict":
                return self._predict(call)

    def close(self) -> None:
        self._http.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _await_setup(self) -> None:
        if not self._set_up:
            until(self._has_set_up, "the oracle did not come up")

    def _has_set_up(self) -> bool:
        if self._process.poll() is not None:
            raise ChildProcessError(f"the oracle's server ended with exit code {self._process.returncode}")
        with suppress(httpx.TransportError):
            health = self._http.get("/health-check").json()
            if health["status"] not in ("UNKNOWN", "STARTING"):
                self._set_up = health
        return bool(self._set_up)

    def _setup(self) -> Outcome:
        if self._set_up["status"] == "SETUP_FAILED":
            log = self._set_up["setup"].get("logs", "")
            lines = [line.removeprefix(_SETUP_LINE) for line in log.splitlines() if line.startswith(_SETUP_LINE)]
            return Outcome(status="broken", logs=_without_warnings(lines), error=log)
        until(self._has_setup_log, "the oracle did not log its set-up")
        return Outcome(status="ready", logs=_without_warnings(self._printed()))

    def _printed(self) -> list[str]:
        """What set-up printed. Now and then a line goes to the server's own log only, so it is read there."""
        entries = [json.decode(line, type=dict[str, Any]) for line in self._server_log.read_bytes().splitlines()]
        return [entry["fields"]["message"] for entry in entries if entry["target"] in _SETUP_TARGETS]

    def _has_setup_log(self) -> bool:
        """It is ready moments before its log is."""
        return _LAST_LINE in self._http.get("/health-check").json()["setup"].get("logs", "")

    def _health(self) -> Outcome:
        until(self._idle, "the oracle stayed busy")
        health = self._http.get("/health-check").json()
        if health["status"] == "READY":
            return Outcome(status="healthy")
        return Outcome(status="unhealthy", error=health.get("user_healthcheck_error") or health["status"])

    def _idle(self) -> bool:
        """It answers a prediction moments before it is ready for the next."""
        return self._http.get("/health-check").json()["status"] != "BUSY"

    def _stop(self) -> Outcome:
        pid = int(self._scene.setup_marks.read_text())
        self._process.terminate()
        self._process.wait(PATIENCE)
        return Outcome(status="alive" if alive(pid) else "gone")

    def _predict(self, call: Call) -> Outcome:
        self._scene.begin()
        inputs = self._scene.inputs(call)
        with ThreadPoolExecutor(len(inputs)) as pool:
            outcomes = list(pool.map(partial(self._one, call), inputs))
        first = outcomes[0]
        output = first.output if len(outcomes) == 1 else [outcome.output for outcome in outcomes]
        return Outcome(
            status=first.status,
            output=output,
            metrics=first.metrics,
            logs=first.logs,
            error=first.error,
            fields=first.fields,
            marks=self._scene.marks.read_text(),
            litter=self._scene.litter(),
            uploads=first.uploads,
        )

    def _one(self, call: Call, input: dict[str, Any]) -> Outcome:
        id = f"call{next(self._ids)}"
        body = {"id": id, "input": input, "context": call.context}
        path = f"/{'trainings' if self._scene.case.train else 'predictions'}/{id}"
        if call.stream:
            return self._outcome(self._stream(path, body))
        if not call.cancel:
            return self._outcome_of(self._put(path, body))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self._put, path, body)
            self._scene.wait_for_marks()
            self._http.post(f"{path}/cancel").raise_for_status()
            return self._outcome_of(answer.result())

    def _put(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Its slot is free again only moments after the answer before; one that crashed never is."""
        late = time.monotonic() + SOON
        while (answer := self._http.put(path, json=body)).status_code == 409 and time.monotonic() < late:
            time.sleep(0.005)
        return answer

    def _stream(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Read as it grows: the gate opens at the first output."""
        with self._http.stream("PUT", path, json=body, headers={"Accept": "text/event-stream"}) as answer:
            if answer.status_code != 200:
                answer.read()
                raise ConnectionError(f"no stream: {answer.status_code} {answer.text}")
            for event, data in _events(answer.iter_lines()):
                if event == "output":
                    self._scene.gate.touch()
                if event == "completed":
                    return json.decode(data)
        raise ConnectionError("the stream ended without an end")

    def _outcome_of(self, answer: httpx.Response) -> Outcome:
        if answer.status_code == 422:
            detail = answer.json()["detail"]
            return Outcome(
                status="refused", fields=tuple(sorted({str(each["loc"][-1]).partition("/")[0] for each in detail}))
            )
        if answer.status_code != 200:
            return Outcome(status="unavailable", error=answer.text)
        return self._outcome(answer.json())

    def _outcome(self, body: dict[str, Any]) -> Outcome:
        metrics = {name: value for name, value in body.get("metrics", {}).items() if name != "predict_time"}
        return Outcome(
            status=body["status"],
            output=self._replace_addresses(body.get("output")),
            uploads=json.encode(body.get("output")).count(self._upload.encode()) if self._upload else None,
            metrics=metrics,
            logs=body.get("logs", ""),
            error=reason(body.get("error") or ""),
        )

    def _replace_addresses(self, value: Any) -> Any:
        """With the content of files in the place of their addresses."""
        match value:
            case str() if value.startswith("data:") and ";base64," in value:
                return describe_content(base64.b64decode(value.partition(";base64,")[2]))
            case str() if self._upload and value.startswith(self._upload):
                return describe_content(self._web.uploaded[urllib.parse.urlsplit(value).path])
            case list():
                return [self._replace_addresses(each) for each in value]
            case dict():
                return {name: self._replace_addresses(each) for name, each in value.items()}
            case _:
                return value


def reason(error: str) -> str:
    """An error without what coglet puts before it."""
    return _PREFIX.sub("", error)


def _without_warnings(lines: list[str]) -> str:
    """Its own about `predict`, which it wants to be called `run`."""
    return "\n".join(line for line in lines if "DeprecationWarning" not in line)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    event = ""
    for line in lines:
        name, _, value = line.partition(":")
        if name == "event":
            event = value.strip()
        elif name == "data":
            yield event, value.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
