"""The same predictor by our own parts: introspection, the gateway's check, a worker process, the file store."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count
from typing import Any, Final

from msgspec import Raw, json

from gateway.catalog.input_schema import InputValidator
from gateway.errors import InvalidInput
from runners.jobs.file_store import open_file_store
from runners.worker.frames import Check, Chunk, Done, Health, Item, LoadFailed, Ready, Run, encode_frame
from schemas.egress import SPECIAL_NETWORKS
from tests.conformance.outcome import Call, Outcome
from tests.conformance.scene import Scene, alive, describe_content
from tests.conformance.signatures import read_document
from tests.runners.worker.driver import HOST, Worker

STATUS: Final = {"ok": "succeeded", "failed": "failed", "stopped": "canceled"}
OURS: Final = ("predict_time", "batch_size")
LIMITS: Final = {"bytes": 200_000_000, "timeout": 10.0, "private": True, "networks": SPECIAL_NETWORKS}
"""The oracle fetches from anywhere; ours must be allowed to fetch from this host."""


def introspect(scene: Scene) -> dict[str, Any]:
    """Return the predictor's introspection: `schema`, or `error`."""
    reading, writing = os.pipe()
    with open(reading, "rb") as answer:
        with open(writing, "wb"):
            process = subprocess.Popen(
                [sys.executable, str(HOST), "introspect", str(scene.folder), "--fd", str(writing), *_options(scene)],
                pass_fds=[writing],
                env=scene.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        text = answer.read()
    process.wait()
    return json.decode(text) if text else {"error": {"message": f"exit code {process.returncode}"}}


class Ours:
    """Our side of a comparison: one worker at a time, and a new one after a crash."""

    def __init__(self, scene: Scene, introspection: dict[str, Any]) -> None:
        self._scene = scene
        self._introspection = introspection
        self._validator = InputValidator(introspection["schema"]) if "schema" in introspection else None
        self._files = open_file_store(f"file://{scene.folder.parent / 'files'}")
        self._ids = count(1)
        self._first: Ready | LoadFailed | None = None
        self._closed = False
        self._worker = self._start()

    def call(self, call: Call) -> Outcome:
        first = self._await_setup()
        match call.kind:
            case "setup":
                return self._setup(first)
            case "health":
                return self._health()
            case "stop":
                return self._stop()
            case "document":
                return Outcome(status="served", output=self._introspection["schema"])
            case "signature":
                return Outcome(status="told", output=read_document(self._introspection["schema"]))
            case "predict":
                return self._predict(call, first)

    def close(self) -> None:
        if not self._closed:
            self._worker.close()

    def _start(self) -> Worker:
        limits = json.encode({**LIMITS, **self._scene.case.limits}).decode()
        environment = {**self._scene.environment, "SAMOVAR_INPUTS": limits}
        return Worker(self._scene.folder, self._scene.case.ref, environment)

    def _await_setup(self) -> Ready | LoadFailed:
        if self._first is None:
            self._first = self._worker.until(self._first_frame)
        return self._first

    def _first_frame(self) -> Ready | LoadFailed | None:
        return next((frame for frame in self._worker.frames if isinstance(frame, Ready | LoadFailed)), None)

    def _setup(self, first: Ready | LoadFailed) -> Outcome:
        if isinstance(first, LoadFailed):
            return Outcome(status="broken", logs=first.log.strip(), error=first.error)
        return Outcome(status="ready", logs=first.log.strip())

    def _health(self) -> Outcome:
        first = self._await_setup()
        if isinstance(first, Ready) and not first.healthcheck:
            return Outcome(status="healthy")
        before = len(self._worker.frames)
        self._worker.socket.sendall(encode_frame(Check()))
        error = self._worker.until(
            lambda: next((f for f in self._worker.frames[before:] if isinstance(f, Health)), None)
        ).error
        return Outcome(status="healthy") if error is None else Outcome(status="unhealthy", error=error)

    def _stop(self) -> Outcome:
        pid = int(self._scene.setup_marks.read_text())
        self._worker.close()
        self._closed = True
        return Outcome(status="alive" if alive(pid) else "gone")

    def _predict(self, call: Call, first: Ready | LoadFailed) -> Outcome:
        self._scene.begin()
        if self._validator is None or isinstance(first, LoadFailed):
            return Outcome(status="unavailable", error=str(self._introspection.get("error") or first))
        try:
            inputs = [bytes(self._validator.check(Raw(json.encode(i)))) for i in self._scene.inputs(call)]
        except InvalidInput as error:
            return Outcome(status="refused", fields=tuple(sorted({_field(each) for each in error.fields})))
        ids = [f"call{next(self._ids)}" for _ in inputs]
        try:
            return self._run(call, ids, inputs)
        except (AssertionError, OSError) as error:
            self._replace()
            return Outcome(status="failed", error=str(error), marks=self._scene.marks.read_text())

    def _run(self, call: Call, ids: list[str], inputs: list[bytes]) -> Outcome:
        worker = self._worker
        for id, input in zip(ids, inputs, strict=True):
            worker.send(Run([Item(id, input, {}, call.context)]))
        if call.stream:
            worker.chunk(ids[0])
            self._scene.gate.touch()
        if call.cancel:
            worker.started(ids[0])
            self._scene.wait_for_marks()
            worker.stop(ids[0])
        finals = [worker.done(id) for id in ids]
        outputs = [self._output(done) for done in finals]
        done = finals[0]
        return Outcome(
            status=STATUS[done.status],
            output=outputs[0] if len(outputs) == 1 else outputs,
            metrics={name: value for name, value in done.metrics.items() if name not in OURS},
            logs=worker.log_of(done.id),
            error=done.error or "",
            marks=self._scene.marks.read_text(),
            litter=self._scene.litter(),
            uploads=self._uploads(done) if self._scene.case.upload else None,
        )

    def _replace(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._worker.process.pid, signal.SIGKILL)
        self._worker.close()
        self._first = None
        self._worker = self._start()

    def _output(self, done: Done) -> Any:
        """Return the output with the content of files in the place of their keys, stored as an agent stores them."""
        frames = [f for f in self._worker.frames if isinstance(f, Chunk) and f.id == done.id]
        chunks = [self._store(done.id, chunk.value, chunk.files) for chunk in frames]
        if done.value is not None:
            return self._store(done.id, done.value, done.files)
        return chunks if done.many else None

    def _store(self, id: str, value: bytes, paths: list[str]) -> Any:
        stored, keys = asyncio.run(self._files.upload_files(id, value, paths)) if paths else (Raw(value), [])
        contents = {f"file:{key}": describe_content(asyncio.run(self._files.fetch(key))) for key in keys}
        return _replace_keys(json.decode(stored), contents)

    def _uploads(self, done: Done) -> int:
        frames = [f for f in self._worker.frames if isinstance(f, Chunk) and f.id == done.id]
        return len(done.files) + sum(len(chunk.files) for chunk in frames)


def _options(scene: Scene) -> list[str]:
    return ["--ref", scene.case.ref]


def _replace_keys(value: Any, contents: dict[str, str]) -> Any:
    match value:
        case str():
            return contents.get(value, value)
        case list():
            return [_replace_keys(each, contents) for each in value]
        case dict():
            return {name: _replace_keys(each, contents) for name, each in value.items()}
        case _:
            return value


def _field(each: Any) -> str:
    """Return the input that a refusal names."""
    if each.type == "required":
        return each.description.removesuffix(" is required")
    return each.field.removeprefix("input.").partition(".")[0]
