"""A plan, carried out against a target: its repeats with their samples, and what they cost."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from subprocess import PIPE
from threading import Thread
from typing import IO, Final, TypeVar

from msgspec import json

from benchmarks import machine, targets
from benchmarks.load.said import Ran, Ready, Said, Stopped
from benchmarks.machine import Machine
from benchmarks.samples import Plan, Repeat
from benchmarks.targets import Target
from deploy.errors import DeployError

LOAD: Final = [sys.executable, "-m", "benchmarks.load"]

Progress = Callable[[str], None]
Stages = dict[str, tuple[float, float]]
T = TypeVar("T", Ready, Ran)


class Unmeasurable(DeployError):
    """The target does not answer as it should."""


def measure(
    plan: Plan,
    target: Target,
    *,
    progress: Progress | None = None,
    before: Callable[[], None] | None = None,
) -> list[Repeat]:
    """By a load generator in a process of its own; `before` is done before each repeat. Raises `Unmeasurable`."""
    here, tell = machine.describe(), progress or _silently
    repeats: list[Repeat] = []
    with _generator(plan, target, tell) as generator:
        for number in range(1, plan.repeats + 1):
            repeats.append(generator.repeat(number, here, before or (lambda: None)))
            tell(f"{plan.name}: repeat {number} of {plan.repeats}: {_brief(repeats[-1])}")
    return repeats


class _Generator:
    """The process, and what is said between it and us."""

    def __init__(self, plan: Plan, target: Target, process: subprocess.Popen[bytes]) -> None:
        self._plan = plan
        self._target = target
        self._process = process
        self._say(json.encode(plan))

    def repeat(self, number: int, here: Machine, before: Callable[[], None]) -> Repeat:
        self._hear(Ready)
        before()
        cpu, stages = targets.cpu(self._target), targets.stages(self._target)
        self._say(b"go")
        ran = self._hear(Ran)
        used, passed = targets.cpu(self._target), targets.stages(self._target)
        return Repeat(
            plan=self._plan,
            number=number,
            at=ran.at,
            machine=here,
            seconds=ran.seconds,
            cpu={"load generator": ran.cpu} | {kind: max(used[kind] - cpu.get(kind, 0.0), 0.0) for kind in used},
            stages=_means(stages, passed),
            samples=ran.samples,
        )

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it tells why it stopped, and that is heard next
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _hear(self, expected: type[T]) -> T:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said = json.decode(line, type=Said) if line else Stopped("the load generator ended before it was done")
        if isinstance(said, Stopped):
            raise Unmeasurable(f"{self._plan.name}: {said.why}")
        assert isinstance(said, expected), said
        return said


@contextmanager
def _generator(plan: Plan, target: Target, progress: Progress) -> Generator[_Generator]:
    """What it says on stderr is progress; it is gone afterwards."""
    kept = {name: value for name, value in os.environ.items() if name != "SAMOVAR_TOKEN"}
    env = kept | ({"SAMOVAR_TOKEN": target.token} if target.token else {})
    with subprocess.Popen(LOAD, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        listening = Thread(target=_forward, args=(process.stderr, plan.name, progress), daemon=True)
        listening.start()
        try:
            yield _Generator(plan, target, process)
        finally:
            process.kill()
            listening.join()


def _forward(stderr: IO[bytes], name: str, progress: Progress) -> None:
    for line in stderr:
        progress(f"{name}: {line.decode(errors='replace').rstrip()}")


def _silently(_: str) -> None:
    pass


def _brief(repeat: Repeat) -> str:
    right = sorted(sample.latency for sample in repeat.samples if sample.error is None)
    wrong = len(repeat.samples) - len(right)
    median = f", p50 {right[len(right) // 2] / 1000:.2f} ms" if right else ""
    return f"{len(right) / repeat.seconds:.1f}/s{median}" + (f", {wrong} wrong" if wrong else "")


def _means(before: Stages, after: Stages) -> dict[str, float]:
    """Seconds in each stage that anything has gone through meanwhile."""
    means: dict[str, float] = {}
    for stage, (count, seconds) in after.items():
        earlier = before.get(stage, (0.0, 0.0))
        if count > earlier[0]:
            means[stage] = (seconds - earlier[1]) / (count - earlier[0])
    return means
