from pathlib import Path

import pytest

from deploy.errors import AlreadyInUse
from deploy.local.lock import lock_data_dir


def test_a_data_directory_is_locked_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        lock_data_dir(tmp_path),
        pytest.raises(AlreadyInUse, match=r"in use by process \d+: stop it"),
        lock_data_dir(tmp_path),
    ):
        pass
    with lock_data_dir(tmp_path):
        pass
