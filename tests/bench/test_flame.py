"""A flame graph of a process, and what is said when there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.flame import PERMISSION_ADVICE, ProfilingFailed, record, record_loaded


def test_a_missing_process_is_reported(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProfilingFailed, match="py-spy"):
        record(gone.pid, 1, tmp_path / "flame.svg")


@pytest.mark.slow
def test_a_flame_graph_of_a_process_is_written(tmp_path: Path) -> None:
    out = tmp_path / "flame.svg"
    with subprocess.Popen([sys.executable, "-c", "def spin():\n  while True: pass\nspin()"]) as process:
        try:
            record(process.pid, 1, out)
        except ProfilingFailed as error:
            if PERMISSION_ADVICE in str(error):
                pytest.skip("processes may not be looked into here")
            raise
        finally:
            process.kill()
    assert "spin" in out.read_text()


@pytest.mark.slow
def test_a_flame_graph_of_a_loaded_gateway_is_written(tmp_path: Path) -> None:
    out = tmp_path / "flame.json"
    try:
        record_loaded("gateway", "no-op, 32 clients", 8, 2, out, "speedscope")
    except ProfilingFailed as error:
        if PERMISSION_ADVICE in str(error):
            pytest.skip("processes may not be looked into here")
        raise
    assert "gateway/routes/predictions.py" in out.read_text()
