from pathlib import Path

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox

from deploy.errors import UsageError
from deploy.local.keys import load_keys


def test_the_runner_opens_what_the_gateway_seals(tmp_path: Path) -> None:
    keys = load_keys(tmp_path)
    sealed = SealedBox(PublicKey(bytes.fromhex(keys.secrets_public_key))).encrypt(b"swordfish")
    assert SealedBox(PrivateKey(bytes.fromhex(keys.secrets_key))).decrypt(sealed) == b"swordfish"


def test_keys_are_drawn_once_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    assert load_keys(tmp_path) == load_keys(tmp_path)
    assert load_keys(tmp_path) != load_keys(tmp_path / "other")
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()} == {
        "secrets.key": 0o600,
        "files-token": 0o600,
    }


def test_keys_that_the_user_sets_are_used_and_not_stored(tmp_path: Path) -> None:
    environ = {"SAMOVAR_SECRETS_KEY": "AB" * 32, "SAMOVAR_FILES_TOKEN": "t" * 20}
    keys = load_keys(tmp_path, environ)
    assert (keys.secrets_key, keys.files_token) == ("ab" * 32, "t" * 20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "stored", "expected"),
    [
        pytest.param({"SAMOVAR_SECRETS_KEY": "short"}, None, "SAMOVAR_SECRETS_KEY must hold 64", id="given"),
        pytest.param({}, "damaged", "secrets.key must hold 64 hex digits; put the right key back", id="stored"),
        pytest.param(
            {"SAMOVAR_SECRETS_PUBLIC_KEY": "ab" * 32}, None, "does not belong to the private key", id="no pair"
        ),
    ],
)
def test_a_bad_key_is_never_replaced(
    tmp_path: Path, environ: dict[str, str], stored: str | None, expected: str
) -> None:
    if stored is not None:
        (tmp_path / "secrets.key").write_text(stored)
    with pytest.raises(UsageError, match=None) as refusal:
        load_keys(tmp_path, environ)
    assert expected in str(refusal.value)
    assert stored is None or (tmp_path / "secrets.key").read_text() == stored
