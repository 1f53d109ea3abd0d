"""Carries out a plan against a target, and returns its repeats."""

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
from benchmarks.load.messages import Failure, Message, Ready, RepeatDone
from benchmarks.machine import Machine
from benchmarks.samples import Plan, Repeat
from benchmarks.targets import Target
from deploy.errors import DeployError

LOAD_COMMAND: Final = [sys.executable, "-m", "benchmarks.load"]

Progress = Callable[[str], None]
Stages = dict[str, tuple[float, float]]
T = TypeVar("T", Ready, RepeatDone)


class MeasurementFailed(DeployError):
    """The target does not answer as it should."""


def measure(
    plan: Plan,
    target: Target,
    *,
    progress: Progress | None = None,
    before: Callable[[], None] | None = None,
) -> list[Repeat]:
    """Measure a target with a load generator in a process of its own.

    `before` is called before each repeat. Raises `MeasurementFailed`.
    """
    here, report = machine.describe_machine(), progress or _ignore
    repeats: list[Repeat] = []
    with _generator(plan, target, report) as generator:
        for number in range(1, plan.repeats + 1):
            repeats.append(generator.repeat(number, here, before or (lambda: None)))
            report(f"{plan.name}: repeat {number} of {plan.repeats}: {_summarize(repeats[-1])}")
    return repeats


class _Generator:
    """The process of a load generator, and the messages between it and us."""

    def __init__(self, plan: Plan, target: Target, process: subprocess.Popen[bytes]) -> None:
        self._plan = plan
        self._target = target
        self._process = process
        self._send(json.encode(plan))

    def repeat(self, number: int, here: Machine, before: Callable[[], None]) -> Repeat:
        self._receive(Ready)
        before()
        cpu, stages = targets.read_cpu(self._target), targets.read_stages(self._target)
        self._send(b"go")
        done = self._receive(RepeatDone)
        cpu_after, stages_after = targets.read_cpu(self._target), targets.read_stages(self._target)
        return Repeat(
            plan=self._plan,
            number=number,
            at=done.at,
            machine=here,
            seconds=done.seconds,
            cpu={"load generator": done.cpu}
            | {kind: max(cpu_after[kind] - cpu.get(kind, 0.0), 0.0) for kind in cpu_after},
            stages=_mean_stages(stages, stages_after),
            samples=done.samples,
        )

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it reports why it stopped, which is read next
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _receive(self, expected: type[T]) -> T:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        message = (
            json.decode(line, type=Message) if line else Failure("the load generator ended before the repeat was done")
        )
        if isinstance(message, Failure):
            raise MeasurementFailed(f"{self._plan.name}: {message.why}")
        assert isinstance(message, expected), message
        return message


@contextmanager
def _generator(plan: Plan, target: Target, progress: Progress) -> Generator[_Generator]:
    """Start a load generator, and end it with the block; its stderr goes to `progress`."""
    inherited = {name: value for name, value in os.environ.items() if name != "SAMOVAR_TOKEN"}
    env = inherited | ({"SAMOVAR_TOKEN": target.token} if target.token else {})
    with subprocess.Popen(LOAD_COMMAND, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        forwarder = Thread(target=_forward, args=(process.stderr, plan.name, progress), daemon=True)
        forwarder.start()
        try:
            yield _Generator(plan, target, process)
        finally:
            process.kill()
            forwarder.join()


def _forward(stderr: IO[bytes], name: str, progress: Progress) -> None:
    for line in stderr:
        progress(f"{name}: {line.decode(errors='replace').rstrip()}")


def _ignore(_: str) -> None:
    pass


def _summarize(repeat: Repeat) -> str:
    right = sorted(sample.latency for sample in repeat.samples if sample.error is None)
    wrong = len(repeat.samples) - len(right)
    median = f", p50 {right[len(right) // 2] / 1000:.2f} ms" if right else ""
    return f"{len(right) / repeat.seconds:.1f}/s{median}" + (f", {wrong} wrong" if wrong else "")


def _mean_stages(before: Stages, after: Stages) -> dict[str, float]:
    """Return the mean seconds in each stage that predictions went through meanwhile."""
    means: dict[str, float] = {}
    for stage, (count, seconds) in after.items():
        earlier = before.get(stage, (0.0, 0.0))
        if count > earlier[0]:
            means[stage] = (seconds - earlier[1]) / (count - earlier[0])
    return means
