"""What a runner on another host has to be told to join this installation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import json

from deploy.errors import Unusable
from deploy.local.keys import keys_of
from deploy.local.nats import CONFIGURATION, HOST, PASSWORD, RUNNER


def settings(data_dir: Path, url: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names and values; `url` is how the other host reaches the gateway. Raises `Unusable`."""
    base = urlsplit(url)
    if base.scheme not in ("http", "https") or not base.hostname:
        raise Unusable(f"--url {url}: it begins with http:// or https://, and names this host as the other one does")
    try:
        listen: str = json.decode((data_dir / "nats" / CONFIGURATION).read_bytes())["listen"]
        password = (data_dir / "nats" / PASSWORD.format(RUNNER.name)).read_text().strip()
    except OSError as error:
        raise Unusable(f"{error.filename}: {error.strerror}; `samovar up` makes it, start that first") from None
    host, _, port = listen.rpartition(":")
    keys = keys_of(data_dir, environ)
    name = f"[{base.hostname}]" if ":" in base.hostname else base.hostname
    # A broker that listens on loopback only is reached through a tunnel, which ends on the other host's loopback.
    yield "SAMOVAR_NATS_URL", f"nats://{RUNNER.name}:{password}@{HOST if host == HOST else name}:{port}"
    yield "SAMOVAR_FILES_URL", f"{url.rstrip('/')}/-/files"
    yield "SAMOVAR_FILES_TOKEN", keys.files_token
    yield "SAMOVAR_SECRETS_KEY", keys.secrets_key
    yield "SAMOVAR_BUNDLED", "false"
