"""What the parts of an installation know of each other's secrets: drawn once, kept in the data directory."""

import re
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Final

from msgspec import Struct

from deploy.errors import Unusable
from deploy.local.data_dir import secret, write_private

KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
SECRETS_KEY: Final = "secrets.key"
FILES_TOKEN: Final = "files-token"  # noqa: S105  the name of the file


class Keys(Struct, frozen=True, kw_only=True):
    secrets_key: str
    """Opens secret inputs; only runners are told. Hex, as is the next."""
    secrets_public_key: str
    """Seals them; the gateway is told."""
    files_token: str
    """What a runner on another host shows at the gateway's `/-/files`."""


def keys_of(data_dir: Path, environ: Mapping[str, str] = {}) -> Keys:
    """Those that the user has set, else those that are kept; drawn the first time. Raises `Unusable`."""
    given = environ.get("SAMOVAR_SECRETS_KEY")
    private = _checked("SAMOVAR_SECRETS_KEY", given) if given else _kept(data_dir / SECRETS_KEY)
    public = _public(private)
    if environ.get("SAMOVAR_SECRETS_PUBLIC_KEY", public).lower() != public:
        raise Unusable("SAMOVAR_SECRETS_PUBLIC_KEY is not that of the private key; `samovar up` derives it: unset it")
    return Keys(
        secrets_key=private,
        secrets_public_key=public,
        files_token=environ.get("SAMOVAR_FILES_TOKEN") or secret(data_dir / FILES_TOKEN, prefix="smv_"),
    )


def _kept(file: Path) -> str:
    if not file.exists():
        write_private(file, token_hex(32) + "\n")  # any 32 bytes are a private key of Curve25519
    try:
        return _checked(str(file), file.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{file}: {error}") from None


def _checked(where: str, text: str) -> str:
    """Never drawn anew in its place: what was sealed before could not be opened any more."""
    if not KEY.fullmatch(text):
        raise Unusable(f"{where}: it has to hold 64 hex digits; put the right key back, or remove it to draw a new one")
    return text.lower()


def _public(private: str) -> str:
    from nacl.public import PrivateKey

    return bytes(PrivateKey(bytes.fromhex(private)).public_key).hex()
