import os
import subprocess
import sys
from pathlib import Path

LEAVE = "print(temporary.worker()); print(temporary.inputs())"


def run(code: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", f"from runners import temporary; {code}"]
    told = subprocess.run(command, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, check=True)
    return told.stdout.decode().split()


def test_what_a_process_left_is_swept_away_once_it_is_gone(tmp_path: Path):
    left = [Path(line) for line in run(LEAVE, tmp_path)]
    assert sorted(tmp_path.iterdir()) == sorted(left)
    kept = [tmp_path / name for name in (f"samovar-worker-{os.getpid()}-x", "samovar-worker-none-x", "mine")]
    for folder in kept:
        folder.mkdir()
    run("temporary.sweep()", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
