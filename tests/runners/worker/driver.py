"""An agent's side of a worker for tests, with a real process, a real socket and a real pipe."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from msgspec import json

from runners.worker.frames import (
    BatchLimit,
    Check,
    Chunk,
    Done,
    FromWorker,
    Health,
    Item,
    ItemsStarted,
    LoadFailed,
    LogText,
    Park,
    Parked,
    Ready,
    Run,
    Stop,
    decode_from_worker,
    encode_frame,
    take_frames,
)

HOST = Path(__file__).parents[3] / "runners" / "worker" / "host.py"
TIMEOUT_SECONDS = 20.0

F = TypeVar("F")


class Worker:
    """A worker process, and the frames that it has sent."""

    def __init__(
        self,
        folder: Path,
        ref: str = "predict.py:Predictor",
        environment: dict[str, str] | None = None,
        home: Path | None = None,
        train: bool = False,
    ):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.log, log_write = os.pipe()
        options = ["--fd", str(theirs.fileno()), "--log-fd", str(self.log), "--ref", ref]
        self._home = tempfile.TemporaryDirectory(prefix="worker-")
        options += ["--home", str(home or self._home.name)]
        options += ["--train"] if train else []
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(HOST), "serve", str(folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=log_write,
                stderr=log_write,
                pass_fds=[theirs.fileno(), self.log],
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        os.close(log_write)
        self.frames: list[FromWorker] = []
        self._buffer = bytearray()

    def run(self, *inputs: dict[str, Any], ids: str = "abcdefghijklmnopqrstuvwxyz") -> None:
        self.send(Run([Item(id, json.encode(input)) for id, input in zip(ids, inputs, strict=False)]))

    def send(self, *frames: Run | Stop | Check | Park) -> None:
        self.socket.sendall(b"".join(encode_frame(frame) for frame in frames))

    def stop(self, *ids: str) -> None:
        self.send(Stop(list(ids)))
        self.process.send_signal(signal.SIGUSR1)

    def until(self, find: Callable[[], F | None]) -> F:
        """Receive frames until `find` returns something."""
        while (result := find()) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise AssertionError(f"the worker died: {self.last_output()}; its frames are {self.frames}")
            self._buffer += data
            self.frames.extend(decode_from_worker(frame) for frame in take_frames(self._buffer))
        return result

    def ready(self) -> Ready:
        return self.until(lambda: self._first(Ready))

    def load_failure(self) -> LoadFailed:
        return self.until(lambda: self._first(LoadFailed))

    def health(self) -> str | None:
        """Return the result of a healthcheck."""
        before = sum(isinstance(frame, Health) for frame in self.frames)
        self.send(Check())
        answers = self.until(lambda: frames if len(frames := self._all(Health)) > before else None)
        return answers[-1].error

    def park(self, parked: bool) -> Parked:
        before = len(self._all(Parked))
        self.send(Park(parked))
        return self.until(lambda: frames if len(frames := self._all(Parked)) > before else None)[-1]

    def memory(self, kind: str) -> int:
        """Return its memory in bytes, as Linux counts it: `VmRSS` is what it has now, `VmHWM` its peak."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))

    def started(self, id: str) -> ItemsStarted:
        return self.until(lambda: next((f for f in self.frames if isinstance(f, ItemsStarted) and id in f.ids), None))

    def chunk(self, id: str = "a") -> Chunk:
        """Return the first chunk."""
        return self.until(lambda: next((f for f in self.frames if isinstance(f, Chunk) and f.id == id), None))

    def wait_for_log(self, text: str) -> str:
        return self.until(lambda: text if text in self.log_of() else None)

    def done(self, id: str = "a") -> Done:
        return self.until(lambda: next((f for f in self.frames if isinstance(f, Done) and f.id == id), None))

    def done_all(self, ids: str) -> list[Done]:
        return [self.done(id) for id in ids]

    def chunks(self, id: str = "a") -> list[Any]:
        return [json.decode(f.value) for f in self.frames if isinstance(f, Chunk) and f.id == id]

    def batch_limits(self) -> list[int]:
        """Return the batch limits that it reported."""
        return [frame.size for frame in self._all(BatchLimit)]

    def log_of(self, id: str | None = None) -> str:
        """Return the log of one item, or of all; the set-up's is none of them."""
        logs = [f for f in self.frames if isinstance(f, LogText) and f.ids]
        return "".join(f.text for f in logs if id is None or id in f.ids)

    def last_output(self) -> str:
        os.set_blocking(self.log, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.log, 1 << 16).decode()
        return ""

    def close(self) -> None:
        self.socket.close()
        try:
            self.process.wait(TIMEOUT_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            os.close(self.log)
            self._home.cleanup()

    def setup_log(self) -> str:
        """Return what was logged until it was ready."""
        return "".join(f.text for f in self.frames if isinstance(f, LogText) and not f.ids)

    def _all(self, kind: type[F]) -> list[F]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def _first(self, kind: type[F]) -> F | None:
        return next((frame for frame in self.frames if isinstance(frame, kind)), None)


@contextlib.contextmanager
def running_worker(folder: Path, **options: Any) -> Generator[Worker]:
    """Run a worker that is set up."""
    worker = Worker(folder, **options)
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()


def write_predictor(folder: Path, code: str, **others: str) -> Path:
    """Write a predictor and return its folder."""
    (folder / "predict.py").write_text(textwrap.dedent(code))
    for name, text in others.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


def output(done: Done) -> Any:
    assert done.status == "ok", done
    assert done.value is not None
    return json.decode(done.value)
