"""An agent's side of a worker, for tests: a real process, a real socket, a real pipe."""

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
    Began,
    Broken,
    Check,
    Chunk,
    Done,
    Fits,
    FromWorker,
    Health,
    Item,
    Park,
    Parked,
    Ready,
    Run,
    Said,
    Stop,
    decode_from_worker,
    pack,
    split,
)

HOST = Path(__file__).parents[3] / "runners" / "worker" / "host.py"
PATIENCE = 20.0

F = TypeVar("F")


class Worker:
    """One worker. Every frame that it said is in `frames`."""

    def __init__(
        self,
        folder: Path,
        ref: str = "predict.py:Predictor",
        environment: dict[str, str] | None = None,
        home: Path | None = None,
        train: bool = False,
    ):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
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
        self.socket.sendall(b"".join(pack(frame) for frame in frames))

    def stop(self, *ids: str) -> None:
        self.send(Stop(list(ids)))
        self.process.send_signal(signal.SIGUSR1)

    def until(self, found: Callable[[], F | None]) -> F:
        """Take in frames until `found` finds something in them."""
        while (result := found()) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise AssertionError(f"the worker died: {self.last_words()}; it said {self.frames}")
            self._buffer += data
            self.frames.extend(decode_from_worker(frame) for frame in split(self._buffer))
        return result

    def ready(self) -> Ready:
        return self.until(lambda: self._first(Ready))

    def broken(self) -> Broken:
        return self.until(lambda: self._first(Broken))

    def health(self) -> str | None:
        """What it says of itself when it is asked."""
        before = sum(isinstance(frame, Health) for frame in self.frames)
        self.send(Check())
        answers = self.until(lambda: found if len(found := self._all(Health)) > before else None)
        return answers[-1].error

    def park(self, parked: bool) -> Parked:
        before = len(self._all(Parked))
        self.send(Park(parked))
        return self.until(lambda: found if len(found := self._all(Parked)) > before else None)[-1]

    def memory(self, kind: str) -> int:
        """In bytes, as Linux counts it: `VmRSS` is what it has now, `VmHWM` what it has had at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))

    def began(self, id: str) -> Began:
        return self.until(lambda: next((f for f in self.frames if isinstance(f, Began) and id in f.ids), None))

    def chunk(self, id: str = "a") -> Chunk:
        """The first."""
        return self.until(lambda: next((f for f in self.frames if isinstance(f, Chunk) and f.id == id), None))

    def said(self, text: str) -> str:
        return self.until(lambda: text if text in self.log_of() else None)

    def done(self, id: str = "a") -> Done:
        return self.until(lambda: next((f for f in self.frames if isinstance(f, Done) and f.id == id), None))

    def done_all(self, ids: str) -> list[Done]:
        return [self.done(id) for id in ids]

    def chunks(self, id: str = "a") -> list[Any]:
        return [json.decode(f.value) for f in self.frames if isinstance(f, Chunk) and f.id == id]

    def fits(self) -> list[int]:
        """The sizes that it said fit."""
        return [frame.size for frame in self._all(Fits)]

    def log_of(self, id: str | None = None) -> str:
        """What was said to somebody: in set-up nobody runs."""
        said = [f for f in self.frames if isinstance(f, Said) and f.ids]
        return "".join(f.text for f in said if id is None or id in f.ids)

    def last_words(self) -> str:
        os.set_blocking(self.log, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.log, 1 << 16).decode()
        return ""

    def close(self) -> None:
        self.socket.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            os.close(self.log)
            self._home.cleanup()

    def setup_log(self) -> str:
        """What was said until it was ready, as it came."""
        return "".join(f.text for f in self.frames if isinstance(f, Said) and not f.ids)

    def _all(self, kind: type[F]) -> list[F]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def _first(self, kind: type[F]) -> F | None:
        return next((frame for frame in self.frames if isinstance(frame, kind)), None)


@contextlib.contextmanager
def working(folder: Path, **options: Any) -> Generator[Worker]:
    """A worker that is set up."""
    worker = Worker(folder, **options)
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()


def write(folder: Path, code: str, **others: str) -> Path:
    """A predictor's folder."""
    (folder / "predict.py").write_text(textwrap.dedent(code))
    for name, text in others.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


def output(done: Done) -> Any:
    assert done.status == "ok", done
    assert done.value is not None
    return json.decode(done.value)
