import os
import subprocess
import sys
from pathlib import Path

CREATE = "print(scratch.create_worker_folder()); print(scratch.create_inputs_folder())"


def run(code: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", f"from runners.process import scratch; {code}"]
    result = subprocess.run(command, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, check=True)
    return result.stdout.decode().split()


def test_the_folders_of_a_process_are_removed_once_it_is_gone(tmp_path: Path):
    stale = [Path(line) for line in run(CREATE, tmp_path)]
    assert sorted(tmp_path.iterdir()) == sorted(stale)
    others = [tmp_path / name for name in (f"samovar-worker-{os.getpid()}-x", "samovar-worker-none-x", "mine")]
    for folder in others:
        folder.mkdir()
    run("scratch.remove_stale_folders()", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
