"""A rival's server for one of the harness's predictors, started for a measurement and stopped after it."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from msgspec import Raw

from benchmarks import machine
from benchmarks.bare_loop import ALLOCATOR
from benchmarks.plans import INPUTS, MODELS
from benchmarks.rivals.installation import HERE, find_python
from benchmarks.rivals.model import FOLDER, PORT
from benchmarks.rivals.registry import RIVALS
from benchmarks.samples import Plan, Request
from benchmarks.stack import free_port
from benchmarks.targets import Target
from deploy.errors import StartFailed

PREDICTORS: Final = ("noop", "sleep", "minilm", "tokens", "megabyte")
BUNDLED: Final = HERE.parents[1] / "runners" / "models"
START_LIMIT: Final = 120.0  # seconds
STOP_LIMIT: Final = 20.0
TITLES: Final = {"noop": "no-op", "sleep": "sleep 10 ms", "megabyte": "1 MB output"}
EXPECTED_TEXTS: Final = {
    "noop": "tea",
    "sleep": "tea",
    "minilm": "0.",
    "tokens": "token99",
    "megabyte": "/lUYy+jf5ZKWlG",
}
"""A text that each answer contains, by predictor."""


@contextmanager
def run_rival(name: str, predictor: str) -> Generator[Target]:
    """Run a rival for the block; it has answered correctly once.

    Raises `StartFailed` or `NotInstalled`.
    """
    folder, port = Path(tempfile.mkdtemp(prefix=f"{name}-")), free_port()
    log = folder / "server.log"
    try:
        with _start_process(name, _environ(name, predictor, folder, port), log) as process:
            target = Target(name, f"http://127.0.0.1:{port}", None, process.pid)
            _await_answer(name, predictor, target, process, log)
            yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_plan(
    name: str,
    predictor: str,
    target: Target,
    *,
    clients: int,
    seconds: float = 5.0,
    repeats: int = 5,
    warm_up: float = 1.0,
    title: str | None = None,
) -> Plan:
    """Return a plan with the inputs that Samovar gets, as this rival takes them."""
    rival = RIVALS[name]
    bodies = [Raw(rival.body(predictor, input)) for input in INPUTS[predictor]]
    return Plan(
        name=title or row_title(predictor, clients),
        target=name,
        url=target.url,
        protocol="plain-stream" if predictor == "tokens" else "plain",
        requests=[Request(path=rival.path, body=body, model=predictor) for body in bodies],
        clients=clients,
        seconds=seconds,
        warm_up=warm_up,
        repeats=repeats,
        expect=EXPECTED_TEXTS[predictor],
    )


def row_title(predictor: str, clients: int) -> str:
    """Return the title of Samovar's row with the same load."""
    what = "stream" if predictor == "tokens" else "client"
    return f"{TITLES.get(predictor, predictor)}, {clients} {what}{'s' * (clients > 1)}"


def predictor_folder(predictor: str) -> Path:
    """Return the folder of a predictor."""
    return (BUNDLED if predictor == "minilm" else MODELS) / predictor


def _environ(name: str, predictor: str, folder: Path, port: int) -> dict[str, str]:
    """Return the environment of a server.

    Like our worker, it leaves a core to the rest, and its allocator keeps freed memory.
    """
    threads = str(machine.model_threads())
    own = {key: text.format(port=port, folder=folder) for key, text in RIVALS[name].environ.items()}
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(("SAMOVAR_", "PYTHON", "RAY_"))}
    settings = {
        FOLDER: str(predictor_folder(predictor)),
        PORT: str(port),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "PATH": f"{find_python(name).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(folder),
    }
    return {**inherited, **ALLOCATOR, **settings, **own}


@contextmanager
def _start_process(name: str, environ: Mapping[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """Start the server, and end it with all its processes.

    Those are found by descent, as some of them have process groups of their own.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(find_python(name)), "server.py"],
            cwd=HERE / name,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end_process(process)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Stop a server as Ctrl-C does, which all of them understand; kill what is left after a while."""
    family = [psutil.Process(process.pid)] if process.poll() is None else []
    with suppress(psutil.NoSuchProcess):
        family += [child for parent in family for child in parent.children(recursive=True)]
    if family:
        process.send_signal(signal.SIGINT)
    _, remaining = psutil.wait_procs(family, timeout=STOP_LIMIT)
    for each in remaining:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(remaining, timeout=STOP_LIMIT)
    process.wait()


def _await_answer(name: str, predictor: str, target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline, last = time.monotonic() + START_LIMIT, "it did not listen"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartFailed(f"{name} with {predictor} ended with {process.returncode}:\n{_log_end(log)}")
        try:
            last = check_answer(name, predictor, target)
        except httpx.TransportError:
            last = "it did not listen"
        else:
            if last is None:
                return
        time.sleep(0.1)
    raise StartFailed(f"{name} with {predictor} did not answer in {START_LIMIT:.0f} s: {last}\n{_log_end(log)}")


def check_answer(name: str, predictor: str, target: Target) -> str | None:
    """Return what is wrong with the answer to the first request; None if it is right."""
    rival, input = RIVALS[name], INPUTS[predictor][0]
    headers = {"content-type": "application/json", "accept": "text/event-stream" if predictor == "tokens" else "*/*"}
    content = rival.body(predictor, input)
    answer = httpx.post(target.url + rival.path, content=content, headers=headers, timeout=15, trust_env=False)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    if predictor == "tokens":
        right = all(f"token{number}" in answer.text for number in range(input["count"]))
    else:
        right = _is_right(predictor, rival.output(predictor, answer.content), input)
    return None if right else f"a wrong answer: {answer.text[:200]}"


def _is_right(predictor: str, output: Any, input: dict[str, Any]) -> bool:
    match predictor:
        case "minilm":
            return len(output) == 384 and abs(sum(value * value for value in output) - 1) < 1e-3
        case "megabyte":
            return len(output) == 1_000_000
        case _:
            return output == input["text"]


def _log_end(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
