"""`samovar up` with all its processes, from its start to its stop."""

import asyncio
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
from deploy.local.pid_file import PidFile
from deploy.local.process import Command
from deploy.local.supervisor import Service, ServiceSupervisor
from deploy.local.up import _wait_until_healthy  # pyright: ignore[reportPrivateUsage]

LIMIT = 30.0
SERVICES = {"gateway", "runner", "nats-server", "postgres"}


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
        start_stack(stack)
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)


def run_second_up(stack: Up, *options: str) -> subprocess.CompletedProcess[str]:
    """Another `samovar up` beside the running one, or after it."""
    return subprocess.run([SAMOVAR, "up", *options], capture_output=True, text=True, timeout=LIMIT)


def test_the_announcement_has_a_command_that_works(stack: Up) -> None:
    log = stack.log.read_text()
    line = next(line for line in log.splitlines() if "is ready" in line)
    assert stack.url in line
    assert stack.token in line
    command = log.splitlines()[log.splitlines().index(line) + 1]
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=LIMIT)
    assert json.decode(result.stdout)["output"] == "hello world"


def test_a_second_run_on_the_same_data_directory_is_refused_in_one_line(stack: Up) -> None:
    result = run_second_up(stack, "--port", "0", "--data-dir", str(stack.data_dir))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"in use by process {stack.up.pid}" in result.stderr
    assert "--data-dir" in result.stderr


def test_a_port_in_use_is_refused_in_one_line_before_anything_starts(stack: Up, tmp_path: Path) -> None:
    result = run_second_up(stack, "--port", str(stack.port), "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"port {stack.port} on 127.0.0.1 is in use" in result.stderr
    assert "--port" in result.stderr
    assert not (tmp_path / "postgres").exists()


def test_no_secret_is_in_the_arguments_of_a_process(stack: Up) -> None:
    files = [*stack.data_dir.rglob("password*"), stack.data_dir / "secrets.key", stack.data_dir / "files-token"]
    secrets = {path.read_text().strip() for path in files} | {stack.token}
    arguments = [" ".join(command_line(child)) for child in list_processes(stack)]
    assert not [line for line in arguments for secret in secrets if secret in line]


def test_the_runner_gets_no_setting_of_the_gateway(stack: Up) -> None:
    environment = find_service(stack, "runner").environ()
    assert "SAMOVAR_DATABASE_URL" not in environment
    assert "SAMOVAR_TOKEN" not in environment
    assert "SAMOVAR_FILES_TOKEN" not in environment


def test_only_the_runner_can_open_what_the_gateway_seals(stack: Up) -> None:
    private = (stack.data_dir / "secrets.key").read_text().strip()
    assert find_service(stack, "runner").environ()["SAMOVAR_SECRETS_KEY"] == private
    assert private not in find_service(stack, "gateway").environ().values()


def test_a_second_host_gets_the_settings_of_the_local_runner(stack: Up) -> None:
    arguments = ("token", "--runner", "--data-dir", str(stack.data_dir), "--url", stack.url)
    result = subprocess.run([SAMOVAR, *arguments], capture_output=True, text=True, timeout=LIMIT)
    count = dict(line.split("=", 1) for line in result.stdout.splitlines())
    runner = find_service(stack, "runner").environ()
    assert {name: count[name] for name in ("SAMOVAR_NATS_URL", "SAMOVAR_SECRETS_KEY")} == {
        name: runner[name] for name in ("SAMOVAR_NATS_URL", "SAMOVAR_SECRETS_KEY")
    }
    assert count["SAMOVAR_FILES_TOKEN"] == find_service(stack, "gateway").environ()["SAMOVAR_FILES_TOKEN"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_that_is_killed_is_restarted(stack: Up, name: str) -> None:
    victim = find_service(stack, name)
    victim.kill()
    wait_until(lambda: find_service(stack, name) != victim)
    wait_until(lambda: is_ready(stack.url))
    assert predict(stack) == "hello world"
    assert f"{name} ended by SIGKILL" in stack.log.read_text()


def test_after_a_kill_the_next_run_has_all_data(stack: Up) -> None:
    predict(stack)
    before = list_predictions(stack)
    processes = list_processes(stack)
    stack.kill()
    start_stack(stack)
    assert list_predictions(stack) == before
    assert predict(stack) == "hello world"
    wait_until(lambda: not any(command_line(process) for process in processes))


@pytest.mark.slow
def test_a_stop_leaves_nothing_even_of_a_service_that_hangs(stack: Up) -> None:
    find_service(stack, "gateway").suspend()
    processes = list_processes(stack)
    stack.up.terminate()
    assert stack.ended() == 0
    assert not [process for process in processes if command_line(process)]
    start_stack(stack)


def test_a_second_signal_kills_what_the_first_one_waits_for(stack: Up) -> None:
    for name in SERVICES:
        find_service(stack, name).suspend()  # each would be waited for, for ten seconds
    processes = list_processes(stack)
    count = stack.log.read_text().count("press Ctrl-C once more")
    stack.up.send_signal(signal.SIGINT)
    wait_until(lambda: stack.log.read_text().count("press Ctrl-C once more") > count)
    stack.up.send_signal(signal.SIGINT)
    assert stack.ended() == 0
    assert not [process for process in processes if command_line(process)]


async def test_a_stop_that_comes_as_the_last_service_is_healthy_is_not_lost(tmp_path: Path) -> None:
    supervisor = create_supervisor(tmp_path)
    waiting = asyncio.create_task(_wait_until_healthy([supervisor]))
    asyncio.get_running_loop().call_soon(supervisor.healthy.set)
    asyncio.get_running_loop().call_soon(waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def is_healthy() -> bool:
    return True


def create_supervisor(folder: Path) -> ServiceSupervisor:
    command = Command(name="part", argv=("true",), log=folder / "part.log", env={})
    return ServiceSupervisor(Service(command=command, is_healthy=is_healthy), PidFile(folder / "children.json"))


def start_stack(stack: Up) -> None:
    """Start it, and wait until it says itself that it is ready."""
    before = stack.log.read_text().count("is ready") if stack.log.exists() else 0
    stack.start()
    stack.wait_ready()
    wait_until(lambda: stack.log.read_text().count("is ready") > before)


def list_processes(stack: Up) -> list[psutil.Process]:
    return stack.up.children(recursive=True)


def command_line(process: psutil.Process) -> list[str]:
    """Empty when it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def find_service(stack: Up, name: str) -> psutil.Process:
    """The part's own process."""

    def find() -> psutil.Process | None:
        for child in stack.up.children():
            arguments = command_line(child)
            if arguments and (arguments[-1] == name or Path(arguments[0]).name == name):
                return child
        return None

    seen: list[psutil.Process] = []

    def there() -> bool:
        # One that is there now may be gone a moment later.
        seen.extend(process for process in [find()] if process is not None)
        return bool(seen)

    wait_until(there)
    return seen[0]


def predict(stack: Up) -> str:
    answer = httpx.post(
        f"{stack.url}/v1/models/samovar/hello-world/predictions",
        json={"input": {"text": "world"}},
        headers={**stack.headers, "Prefer": "wait"},
        timeout=60,
    )
    return answer.json()["output"]


def list_predictions(stack: Up) -> list[str]:
    page = httpx.get(f"{stack.url}/v1/predictions", headers=stack.headers, timeout=LIMIT).json()
    return [prediction["id"] for prediction in page["results"]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)
