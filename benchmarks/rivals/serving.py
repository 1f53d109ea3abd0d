"""A rival that serves one of the harness's predictors, started for a measurement and gone after it."""

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
from benchmarks.bare import ALLOCATOR
from benchmarks.plans import INPUTS, MODELS
from benchmarks.rivals.installing import HERE, python_of
from benchmarks.rivals.model import FOLDER, PORT
from benchmarks.rivals.names import RIVALS
from benchmarks.samples import Plan, Request
from benchmarks.stack import free_port
from benchmarks.targets import Target
from deploy.errors import Unstarted

PREDICTORS: Final = ("noop", "sleep", "minilm", "tokens", "megabyte")
BUNDLED: Final = HERE.parents[1] / "runners" / "models"
START_LIMIT: Final = 120.0  # seconds
STOP_LIMIT: Final = 20.0
TITLES: Final = {"noop": "no-op", "sleep": "sleep 10 ms", "megabyte": "1 MB output"}
EXPECT: Final = {"noop": "tea", "sleep": "tea", "minilm": "0.", "tokens": "token99", "megabyte": "/lUYy+jf5ZKWlG"}
"""That each answer has in it."""


@contextmanager
def serving(name: str, predictor: str) -> Generator[Target]:
    """It has answered rightly once. Raises `Unstarted`, or `NotInstalled`."""
    folder, port = Path(tempfile.mkdtemp(prefix=f"{name}-")), free_port()
    log = folder / "server.log"
    try:
        with _started(name, _environ(name, predictor, folder, port), log) as process:
            target = Target(name, f"http://127.0.0.1:{port}", None, process.pid)
            _await_answer(name, predictor, target, process, log)
            yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def plan(
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
    """The same inputs that Samovar gets, as this rival takes them."""
    rival = RIVALS[name]
    bodies = [Raw(rival.body(predictor, input)) for input in INPUTS[predictor]]
    return Plan(
        name=title or title_of(predictor, clients),
        target=name,
        url=target.url,
        protocol="plain-stream" if predictor == "tokens" else "plain",
        requests=[Request(path=rival.path, body=body, model=predictor) for body in bodies],
        clients=clients,
        seconds=seconds,
        warm_up=warm_up,
        repeats=repeats,
        expect=EXPECT[predictor],
    )


def title_of(predictor: str, clients: int) -> str:
    """As the suite names the same row of Samovar's."""
    what = "stream" if predictor == "tokens" else "client"
    return f"{TITLES.get(predictor, predictor)}, {clients} {what}{'s' * (clients > 1)}"


def folder_of(predictor: str) -> Path:
    return (BUNDLED if predictor == "minilm" else MODELS) / predictor


def _environ(name: str, predictor: str, folder: Path, port: int) -> dict[str, str]:
    """What our worker gives a model, too: a core is left to the rest, and the allocator keeps what is freed."""
    threads = str(machine.threads())
    own = {key: text.format(port=port, folder=folder) for key, text in RIVALS[name].environ.items()}
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("SAMOVAR_", "PYTHON", "RAY_"))}
    given = {
        FOLDER: str(folder_of(predictor)),
        PORT: str(port),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "PATH": f"{python_of(name).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(folder),
    }
    return {**kept, **ALLOCATOR, **given, **own}


@contextmanager
def _started(name: str, environ: Mapping[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """Ended with all that it has started, which is looked up by descent: some of that has groups of its own."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python_of(name)), "server.py"],
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
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, which all of them know; what is left after a while is killed."""
    family = [psutil.Process(process.pid)] if process.poll() is None else []
    with suppress(psutil.NoSuchProcess):
        family += [child for parent in family for child in parent.children(recursive=True)]
    if family:
        process.send_signal(signal.SIGINT)
    _, left = psutil.wait_procs(family, timeout=STOP_LIMIT)
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, timeout=STOP_LIMIT)
    process.wait()


def _await_answer(name: str, predictor: str, target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline, last = time.monotonic() + START_LIMIT, "it did not listen"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unstarted(f"{name} with {predictor} ended with {process.returncode}:\n{_end_of(log)}")
        try:
            last = asked(name, predictor, target)
        except httpx.TransportError:
            last = "it did not listen"
        else:
            if last is None:
                return
        time.sleep(0.1)
    raise Unstarted(f"{name} with {predictor} did not answer in {START_LIMIT:.0f} s: {last}\n{_end_of(log)}")


def asked(name: str, predictor: str, target: Target) -> str | None:
    """What is wrong with its answer to the first of the plan's requests; none: nothing."""
    rival, input = RIVALS[name], INPUTS[predictor][0]
    headers = {"content-type": "application/json", "accept": "text/event-stream" if predictor == "tokens" else "*/*"}
    content = rival.body(predictor, input)
    answer = httpx.post(target.url + rival.path, content=content, headers=headers, timeout=15, trust_env=False)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:200]}"
    if predictor == "tokens":
        right = all(f"token{number}" in answer.text for number in range(input["count"]))
    else:
        right = _right(predictor, rival.output(predictor, answer.content), input)
    return None if right else f"a wrong answer: {answer.text[:200]}"


def _right(predictor: str, output: Any, input: dict[str, Any]) -> bool:
    match predictor:
        case "minilm":
            return len(output) == 384 and abs(sum(value * value for value in output) - 1) < 1e-3
        case "megabyte":
            return len(output) == 1_000_000
        case _:
            return output == input["text"]


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
