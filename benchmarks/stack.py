"""A whole Samovar, started as a user starts it: `samovar up` on a free port and a fresh data directory."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from deploy.errors import StartFailed

SAMOVAR = Path(sys.executable).with_name("samovar")
START_LIMIT = 180.0  # seconds; the first start of a model converts nothing, but imports torch on a busy machine
STOP_LIMIT = 60.0


class Stack:
    """A data directory, and the `samovar up` that runs on it.

    Tests and benchmarks start it, and may stop, kill and start it again.
    """

    def __init__(self, base: Path, *, models: Sequence[Path] = (), environ: Mapping[str, str] = {}) -> None:
        self.data_dir = base / "data"
        self.log = base / "up.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = "test-" + secrets.token_hex(16)
        self._models = models
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def up(self) -> psutil.Process:
        """The process of `samovar up`."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def headers(self) -> dict[str, str]:
        """Headers with the stack's token."""
        return {"Authorization": f"Bearer {self.token}"}

    def start(self) -> None:
        """Start the process, which takes a while to be ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=self._env())

    def wait_ready(self, limit: float = START_LIMIT) -> None:
        """Wait until the stack is ready.

        Raises `StartFailed`.
        """
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            assert self._process is not None
            if (code := self._process.poll()) is not None:
                raise StartFailed(f"`samovar up` ended with {code}:\n{self.last_words()}")
            if is_ready(self.url):
                return
            time.sleep(0.05)
        raise StartFailed(f"`samovar up` was not ready after {limit:.0f} s:\n{self.last_words()}")

    def kill(self) -> None:
        """Kill `up` as `kill -9` does; whatever it had started is left to itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop `up` as Ctrl-C does.

        Fails if anything that `up` had started is still there afterwards.
        """
        if self._process is None or self._process.poll() is not None:
            return
        family = self.up.children(recursive=True)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"`samovar up` did not stop in {STOP_LIMIT:.0f} s:\n{self.last_words()}") from None
        finally:
            _, remaining = psutil.wait_procs(family, timeout=5)
            for process in remaining:
                process.kill()
        assert not remaining, f"left behind: {remaining}"

    def last_words(self, lines: int = 60) -> str:
        """Return the ends of all logs."""
        logs = [self.log, *sorted((self.data_dir / "logs").glob("*.log"))]
        ends = [(log, log.read_text(errors="replace").splitlines()[-lines:]) for log in logs if log.exists()]
        return "\n".join(f"--- {log.name}\n" + "\n".join(end) for log, end in ends)

    def _command(self) -> list[str]:
        command = [str(SAMOVAR), "up", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        for folder in self._models:
            command += ["--models", str(folder)]
        return command

    def _env(self) -> dict[str, str]:
        ours = {"SAMOVAR_CACHE_DIR"}
        inherited = {
            name: value for name, value in os.environ.items() if name in ours or not name.startswith("SAMOVAR_")
        }
        return {**inherited, "SAMOVAR_TOKEN": self.token, **self._environ}


@contextmanager
def running_stack(*, models: Sequence[Path] = (), environ: Mapping[str, str] = {}) -> Generator[Stack]:
    """Run a stack for the block, and delete its data; if the block fails, print the ends of its logs."""
    with started_stack(models=models, environ=environ) as stack:
        try:
            yield stack
        except BaseException:
            print(stack.last_words())
            raise


@contextmanager
def started_stack(*, models: Sequence[Path] = (), environ: Mapping[str, str] = {}) -> Generator[Stack]:
    """Run a stack for the block, and delete its data, for callers that report failures themselves.

    Raises `StartFailed`.
    """
    base = Path(tempfile.mkdtemp(prefix="samovar-test-"))
    base.chmod(0o755)  # as root, PostgreSQL runs as another user, who must get to its files
    stack = Stack(base, models=models, environ=environ)
    try:
        stack.start()
        stack.wait_ready()
        yield stack
    finally:
        try:
            stack.stop()
        finally:
            shutil.rmtree(base, ignore_errors=True)


def is_ready(url: str) -> bool:
    """Return whether the gateway answers that it is ready."""
    try:
        return httpx.get(url + "/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
