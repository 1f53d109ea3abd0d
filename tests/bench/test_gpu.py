"""The measurement for GPUs, as far as a machine without one can show that it works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.samples import Figure, Repeat, read_measurements


def run_gpu(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("samovar")), "bench", "gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


@pytest.mark.skipif(bool(machine.gpu_handles()), reason="there is a GPU here")
def test_a_missing_gpu_is_reported() -> None:
    done = run_gpu()
    assert done.returncode == 1
    assert done.stderr == (
        "samovar: This machine has no NVIDIA GPU, so there is nothing to measure; --anyway uses the CPU.\n"
    )


@pytest.mark.slow
def test_batches_are_measured_in_a_bare_loop_and_behind_the_gateway(tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl.gz"
    wish = ["--models", "transformer", "--sizes", "1", "--sizes", "2", "--repeats", "1", "--seconds", "0.5"]
    done = run_gpu(*wish, "--anyway", "--out", str(out), TRANSFORMER_LAYERS="1")
    assert done.returncode == 0, done.stderr
    measured = list(read_measurements(out))
    alone = {one.name: one.values for one in measured if isinstance(one, Figure) and one.figure == "texts/s"}
    assert list(alone) == ["transformer, batches of 1", "transformer, batches of 2"]
    assert all(rate > 0 for values in alone.values() for rate in values)
    behind = {one.plan.name: one.samples for one in measured if isinstance(one, Repeat)}
    assert list(behind) == ["transformer, 1 client", "transformer, 2 clients"]
    assert all(samples and not any(sample.error for sample in samples) for samples in behind.values())


@pytest.mark.gpu
@pytest.mark.skipif(not machine.gpu_handles(), reason="NVML sees no GPU on this machine")
def test_a_gpu_is_busy_while_a_model_computes(tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl.gz"
    assert run_gpu("--models", "transformer", "--sizes", "64", "--repeats", "1", "--out", str(out)).returncode == 0
    shares = [one for one in read_measurements(out) if isinstance(one, Figure) and one.figure.startswith("%")]
    assert {one.target for one in shares} == {"bare loop", "samovar"}
    assert all(one.values[0] > 0 for one in shares)
