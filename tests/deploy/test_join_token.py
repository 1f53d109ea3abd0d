from pathlib import Path

import pytest

from deploy.local import nats
from deploy.local.join_token import runner_settings
from deploy.local.keys import load_keys


@pytest.mark.parametrize(
    ("host", "url", "broker"),
    [
        pytest.param("0.0.0.0", "http://hub.lan:8000", "hub.lan", id="reachable"),
        pytest.param("127.0.0.1", "http://hub.lan:8000/", "127.0.0.1", id="through a tunnel"),
        pytest.param("0.0.0.0", "http://[fd00::1]:8000", "[fd00::1]", id="IPv6"),
    ],
)
def test_the_settings_are_all_that_a_second_host_needs(tmp_path: Path, host: str, url: str, broker: str) -> None:
    server = nats.prepare(tmp_path / "nats", log=tmp_path / "log", host=host)
    settings = dict(runner_settings(tmp_path, url, {}))
    keys = load_keys(tmp_path)
    password = (tmp_path / "nats" / "password-runner").read_text().strip()
    assert settings == {
        "SAMOVAR_NATS_URL": f"nats://runner:{password}@{broker}:{server.port}",
        "SAMOVAR_FILES_URL": f"{url.rstrip('/')}/-/files",
        "SAMOVAR_FILES_TOKEN": keys.files_token,
        "SAMOVAR_SECRETS_KEY": keys.secrets_key,
        "SAMOVAR_BUNDLED": "false",
    }
