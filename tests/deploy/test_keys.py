from pathlib import Path

import pytest
from msgspec import json
from nacl.public import PrivateKey, PublicKey, SealedBox

from deploy.errors import Unusable
from deploy.local import join_token, nats
from deploy.local.keys import keys_of
from deploy.local.nats import listening


def test_what_the_gateway_seals_the_runner_opens(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    sealed = SealedBox(PublicKey(bytes.fromhex(keys.secrets_public_key))).encrypt(b"swordfish")
    assert SealedBox(PrivateKey(bytes.fromhex(keys.secrets_key))).decrypt(sealed) == b"swordfish"


def test_keys_are_drawn_once_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    assert keys_of(tmp_path) == keys_of(tmp_path)
    assert keys_of(tmp_path) != keys_of(tmp_path / "other")
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()} == {
        "secrets.key": 0o600,
        "files-token": 0o600,
    }


def test_those_that_the_user_sets_are_taken_and_not_kept(tmp_path: Path) -> None:
    given = {"SAMOVAR_SECRETS_KEY": "AB" * 32, "SAMOVAR_FILES_TOKEN": "t" * 20}
    keys = keys_of(tmp_path, given)
    assert (keys.secrets_key, keys.files_token) == ("ab" * 32, "t" * 20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "kept", "told"),
    [
        pytest.param({"SAMOVAR_SECRETS_KEY": "short"}, None, "SAMOVAR_SECRETS_KEY: it has to hold 64", id="given"),
        pytest.param({}, "damaged", "secrets.key: it has to hold 64 hex digits; put the right key back", id="kept"),
        pytest.param({"SAMOVAR_SECRETS_PUBLIC_KEY": "ab" * 32}, None, "not that of the private key", id="no pair"),
    ],
)
def test_a_key_that_cannot_be_one_is_never_replaced(
    tmp_path: Path, given: dict[str, str], kept: str | None, told: str
) -> None:
    if kept is not None:
        (tmp_path / "secrets.key").write_text(kept)
    with pytest.raises(Unusable, match=None) as refusal:
        keys_of(tmp_path, given)
    assert told in str(refusal.value)
    assert kept is None or (tmp_path / "secrets.key").read_text() == kept


@pytest.mark.parametrize(
    ("host", "url", "broker"),
    [
        pytest.param("0.0.0.0", "http://hub.lan:8000", "hub.lan", id="reachable"),
        pytest.param("127.0.0.1", "http://hub.lan:8000/", "127.0.0.1", id="through a tunnel"),
        pytest.param("0.0.0.0", "http://[fd00::1]:8000", "[fd00::1]", id="IPv6"),
    ],
)
def test_a_second_host_is_told_where_everything_is(tmp_path: Path, host: str, url: str, broker: str) -> None:
    server = nats.prepare(tmp_path / "nats", log=tmp_path / "log", host=host)
    told = dict(join_token.settings(tmp_path, url, {}))
    keys = keys_of(tmp_path)
    password = (tmp_path / "nats" / "password-runner").read_text().strip()
    assert told == {
        "SAMOVAR_NATS_URL": f"nats://runner:{password}@{broker}:{server.port}",
        "SAMOVAR_FILES_URL": f"{url.rstrip('/')}/-/files",
        "SAMOVAR_FILES_TOKEN": keys.files_token,
        "SAMOVAR_SECRETS_KEY": keys.secrets_key,
        "SAMOVAR_BUNDLED": "false",
    }


def test_a_broker_that_others_may_reach_is_still_reached_by_us(tmp_path: Path) -> None:
    server = nats.prepare(tmp_path / "nats", log=tmp_path / "log", host="0.0.0.0", port=4321)
    assert json.decode((tmp_path / "nats" / "server.conf").read_bytes())["listen"] == "0.0.0.0:4321"
    assert server.urls["runner"].endswith("@127.0.0.1:4321")


@pytest.mark.parametrize("text", ["4222", ":4222", "0.0.0.0:", "0.0.0.0:many", "0.0.0.0:70000", "::1:4222"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match=f"--nats {text}: give an address"):
        listening(text)


def test_an_address_has_a_host_and_a_port() -> None:
    assert listening("0.0.0.0:4222") == ("0.0.0.0", 4222)
