from pathlib import Path

import pytest

from deploy.errors import InUse, Unusable
from deploy.local.data_dir import default_data_dir, make_data_dir, token_of
from deploy.local.lock import locked


def test_a_token_is_drawn_once_and_kept_for_the_owner_alone(tmp_path: Path) -> None:
    token = token_of(tmp_path)
    assert token.startswith("smv_")
    assert len(token) == 41
    assert token_of(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_given_token_takes_the_place_of_the_kept_one(tmp_path: Path) -> None:
    token_of(tmp_path)
    assert token_of(tmp_path, "given-by-hand") == "given-by-hand"
    assert token_of(tmp_path) == "given-by-hand"


@pytest.mark.parametrize("token", ["", "short", "with a space", "zwölfzwölf", "line\nline\nline"])
def test_a_token_that_no_header_could_carry_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(Unusable, match="--token"):
        token_of(tmp_path, token)


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match="--data-dir"):
        make_data_dir(tmp_path / "file")


def test_a_data_directory_is_locked_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InUse, match=r"in use by process \d+: stop it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_the_default_is_where_the_user_keeps_data() -> None:
    folder = default_data_dir({"XDG_DATA_HOME": "/x"})
    assert str(folder) in ("/x/samovar", "/var/lib/samovar")
