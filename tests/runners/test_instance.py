"""A worker process as its agent sees it."""

from pathlib import Path

from runners import instance
from runners.instance import Program

NONSENSE = """
import os, sys, time
os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"\\x00\\x00\\x00\\x04\\xff\\xff\\xff\\xff" * 4)
time.sleep(60)
"""


async def test_a_worker_that_speaks_nonsense_dies_by_its_own_fault(tmp_path: Path) -> None:
    """Killed for the sake of others, its jobs would run again without being counted, and for ever."""
    host = tmp_path / "host.py"
    host.write_text(NONSENSE)
    worker = await instance.start(
        Program(folder=tmp_path, ref="predict.py:Predictor", environment={}, host=str(host)), lambda _: None
    )
    ended = await worker.ended()
    assert "SIGKILL" in ended.reason
    assert not ended.ours
