"""The settings with which a runner on another host joins this installation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import json

from deploy.errors import UsageError
from deploy.local.keys import load_keys
from deploy.local.nats import CONFIGURATION_FILE, LOOPBACK, PASSWORD_FILE, RUNNER


def runner_settings(data_dir: Path, url: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and values to set on the other host, which reaches the gateway at `url`. Raises `UsageError`."""
    base = urlsplit(url)
    if base.scheme not in ("http", "https") or not base.hostname:
        raise UsageError(f"--url {url}: give the http:// or https:// address at which the other host reaches this one")
    try:
        listen: str = json.decode((data_dir / "nats" / CONFIGURATION_FILE).read_bytes())["listen"]
        password = (data_dir / "nats" / PASSWORD_FILE.format(RUNNER.name)).read_text().strip()
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; start `samovar up` first") from None
    host, _, port = listen.rpartition(":")
    keys = load_keys(data_dir, environ)
    name = f"[{base.hostname}]" if ":" in base.hostname else base.hostname
    # A broker that listens on loopback only is reached through a tunnel, which ends on the other host's loopback.
    yield "SAMOVAR_NATS_URL", f"nats://{RUNNER.name}:{password}@{LOOPBACK if host == LOOPBACK else name}:{port}"
    yield "SAMOVAR_FILES_URL", f"{url.rstrip('/')}/-/files"
    yield "SAMOVAR_FILES_TOKEN", keys.files_token
    yield "SAMOVAR_SECRETS_KEY", keys.secrets_key
    yield "SAMOVAR_BUNDLED", "false"
