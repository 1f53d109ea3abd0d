from pathlib import Path

import pytest

from deploy.errors import UsageError
from deploy.local.data_dir import create_data_dir, default_data_dir, load_token


def test_a_token_is_drawn_once_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    token = load_token(tmp_path)
    assert token.startswith("smv_")
    assert len(token) == 41
    assert load_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_given_token_replaces_the_stored_one(tmp_path: Path) -> None:
    load_token(tmp_path)
    assert load_token(tmp_path, "given-by-hand") == "given-by-hand"
    assert load_token(tmp_path) == "given-by-hand"


@pytest.mark.parametrize("token", ["", "short", "with a space", "zwölfzwölf", "line\nline\nline"])
def test_a_token_that_no_header_could_carry_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(UsageError, match="--token"):
        load_token(tmp_path, token)


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--data-dir"):
        create_data_dir(tmp_path / "file")


def test_the_default_is_where_the_user_keeps_data() -> None:
    folder = default_data_dir({"XDG_DATA_HOME": "/x"})
    assert str(folder) in ("/x/samovar", "/var/lib/samovar")
