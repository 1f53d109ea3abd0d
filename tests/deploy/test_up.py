"""The life of `samovar up` with all its processes."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR, Stack, is_ready

LIMIT = 30.0
PARTS = {"gateway", "runner", "nats-server", "postgres"}


class Up(Stack):
    def ended(self) -> int:
        """Its exit status, waited for."""
        assert self._process is not None
        return self._process.wait(LIMIT)


@pytest.fixture(scope="module")
def stack() -> Generator[Up]:
    """One data directory for all tests of this module; each leaves it running."""
    base = Path(tempfile.mkdtemp(prefix="samovar-up-"))
    stack = Up(base)
    try:
        begin(stack)
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)


def again(stack: Up, *options: str) -> subprocess.CompletedProcess[str]:
    """Another `samovar up` beside the running one, or after it."""
    return subprocess.run([SAMOVAR, "up", *options], capture_output=True, text=True, timeout=LIMIT)


def test_what_is_ready_is_told_in_words_that_can_be_pasted(stack: Up) -> None:
    said = stack.log.read_text()
    line = next(line for line in said.splitlines() if "is ready" in line)
    assert stack.url in line
    assert stack.token in line
    command = said.splitlines()[said.splitlines().index(line) + 1]
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=LIMIT)
    assert json.decode(done.stdout)["output"] == "hello world"


def test_a_second_one_on_the_same_data_directory_is_refused_in_one_line(stack: Up) -> None:
    done = again(stack, "--port", "0", "--data-dir", str(stack.data_dir))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"in use by process {stack.up.pid}" in done.stderr
    assert "--data-dir" in done.stderr


def test_a_port_in_use_is_refused_in_one_line_before_anything_starts(stack: Up, tmp_path: Path) -> None:
    done = again(stack, "--port", str(stack.port), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {stack.port} on 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_no_secret_is_in_the_arguments_of_a_process(stack: Up) -> None:
    files = [*stack.data_dir.rglob("password*"), stack.data_dir / "secrets.key", stack.data_dir / "files-token"]
    secrets = {path.read_text().strip() for path in files} | {stack.token}
    arguments = [" ".join(command_line(child)) for child in family(stack)]
    assert not [line for line in arguments for secret in secrets if secret in line]


def test_the_runner_is_not_told_what_is_the_gateways(stack: Up) -> None:
    environment = part(stack, "runner").environ()
    assert "SAMOVAR_DATABASE_URL" not in environment
    assert "SAMOVAR_TOKEN" not in environment
    assert "SAMOVAR_FILES_TOKEN" not in environment


def test_only_the_runner_can_open_what_the_gateway_seals(stack: Up) -> None:
    private = (stack.data_dir / "secrets.key").read_text().strip()
    assert part(stack, "runner").environ()["SAMOVAR_SECRETS_KEY"] == private
    assert private not in part(stack, "gateway").environ().values()


def test_a_second_host_is_told_what_the_runner_here_is_told(stack: Up) -> None:
    words = ("token", "--runner", "--data-dir", str(stack.data_dir), "--url", stack.url)
    done = subprocess.run([SAMOVAR, *words], capture_output=True, text=True, timeout=LIMIT)
    told = dict(line.split("=", 1) for line in done.stdout.splitlines())
    runner = part(stack, "runner").environ()
    assert {name: told[name] for name in ("SAMOVAR_NATS_URL", "SAMOVAR_SECRETS_KEY")} == {
        name: runner[name] for name in ("SAMOVAR_NATS_URL", "SAMOVAR_SECRETS_KEY")
    }
    assert told["SAMOVAR_FILES_TOKEN"] == part(stack, "gateway").environ()["SAMOVAR_FILES_TOKEN"]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_that_is_killed_is_started_again(stack: Up, name: str) -> None:
    killed = part(stack, name)
    killed.kill()
    until(lambda: part(stack, name) != killed)
    until(lambda: is_ready(stack.url))
    assert predict(stack) == "hello world"
    assert f"{name} ended by SIGKILL" in stack.log.read_text()


def test_after_a_kill_of_its_own_the_next_one_goes_on_with_all_data(stack: Up) -> None:
    predict(stack)
    before = recorded(stack)
    left = family(stack)
    stack.kill()
    begin(stack)
    assert recorded(stack) == before
    assert predict(stack) == "hello world"
    until(lambda: not any(command_line(process) for process in left))


@pytest.mark.slow
def test_when_told_to_stop_nothing_is_left_even_of_a_part_that_hangs(stack: Up) -> None:
    part(stack, "gateway").suspend()
    left = family(stack)
    stack.up.terminate()
    assert stack.ended() == 0
    assert not [process for process in left if command_line(process)]
    begin(stack)


def test_told_twice_it_kills_what_it_would_wait_for(stack: Up) -> None:
    for name in PARTS:
        part(stack, name).suspend()  # each would be waited for, for ten seconds
    left = family(stack)
    told = stack.log.read_text().count("press Ctrl-C once more")
    stack.up.send_signal(signal.SIGINT)
    until(lambda: stack.log.read_text().count("press Ctrl-C once more") > told)
    stack.up.send_signal(signal.SIGINT)
    assert stack.ended() == 0
    assert not [process for process in left if command_line(process)]


def begin(stack: Up) -> None:
    """Start it, and wait until it says itself that it is ready."""
    before = stack.log.read_text().count("is ready") if stack.log.exists() else 0
    stack.start()
    stack.wait_ready()
    until(lambda: stack.log.read_text().count("is ready") > before)


def family(stack: Up) -> list[psutil.Process]:
    return stack.up.children(recursive=True)


def command_line(process: psutil.Process) -> list[str]:
    """Empty when it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def part(stack: Up, name: str) -> psutil.Process:
    """The part's own process."""

    def found() -> psutil.Process | None:
        for child in stack.up.children():
            words = command_line(child)
            if words and (words[-1] == name or Path(words[0]).name == name):
                return child
        return None

    seen: list[psutil.Process] = []

    def there() -> bool:
        # One that is there now may be gone a moment later.
        seen.extend(process for process in [found()] if process is not None)
        return bool(seen)

    until(there)
    return seen[0]


def predict(stack: Up) -> str:
    answer = httpx.post(
        f"{stack.url}/v1/models/samovar/hello-world/predictions",
        json={"input": {"text": "world"}},
        headers={**stack.headers, "Prefer": "wait"},
        timeout=60,
    )
    return answer.json()["output"]


def recorded(stack: Up) -> list[str]:
    page = httpx.get(f"{stack.url}/v1/predictions", headers=stack.headers, timeout=LIMIT).json()
    return [prediction["id"] for prediction in page["results"]]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)
