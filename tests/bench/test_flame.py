"""A flame graph of a process, and what is said when there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.flame import RIGHTS, Unseen, record, record_loaded


def test_a_process_that_is_not_there_is_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(Unseen, match="py-spy"):
        record(gone.pid, 1, tmp_path / "flame.svg")


@pytest.mark.slow
def test_a_process_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "flame.svg"
    with subprocess.Popen([sys.executable, "-c", "def spin():\n  while True: pass\nspin()"]) as process:
        try:
            record(process.pid, 1, out)
        except Unseen as error:
            if RIGHTS in str(error):
                pytest.skip("processes may not be looked into here")
            raise
        finally:
            process.kill()
    assert "spin" in out.read_text()


@pytest.mark.slow
def test_a_gateway_is_drawn_under_load(tmp_path: Path) -> None:
    out = tmp_path / "flame.json"
    try:
        record_loaded("gateway", "no-op, 32 clients", 8, 2, out, "speedscope")
    except Unseen as error:
        if RIGHTS in str(error):
            pytest.skip("processes may not be looked into here")
        raise
    assert "gateway/routes/predictions.py" in out.read_text()
