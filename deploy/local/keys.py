"""The keys that gateway and runners share: drawn once, kept in the data directory."""

import re
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Final

from msgspec import Struct

from deploy.errors import UsageError
from deploy.local.data_dir import load_secret, write_private_file

KEY_PATTERN: Final = re.compile(r"[0-9a-fA-F]{64}")
SECRETS_KEY_FILE: Final = "secrets.key"
FILES_TOKEN_FILE: Final = "files-token"  # noqa: S105  the name of the file


class Keys(Struct, frozen=True, kw_only=True):
    """The keys of one installation."""

    secrets_key: str
    """The private key that opens secret inputs, in hex. Only runners get it."""
    secrets_public_key: str
    """The public key that seals secret inputs, in hex. The gateway gets it."""
    files_token: str
    """The token with which a runner on another host uses the gateway's `/-/files`."""


def load_keys(data_dir: Path, environ: Mapping[str, str] = {}) -> Keys:
    """Return the keys that the user has set, or the stored ones; the first time, draw them. Raises `UsageError`."""
    if secrets_key := environ.get("SAMOVAR_SECRETS_KEY"):
        private_key = _check_key("SAMOVAR_SECRETS_KEY", secrets_key)
    else:
        private_key = _load_private_key(data_dir / SECRETS_KEY_FILE)
    public_key = _derive_public_key(private_key)
    if environ.get("SAMOVAR_SECRETS_PUBLIC_KEY", public_key).lower() != public_key:
        raise UsageError(
            "SAMOVAR_SECRETS_PUBLIC_KEY does not belong to the private key; unset it, as `samovar up` derives it"
        )
    return Keys(
        secrets_key=private_key,
        secrets_public_key=public_key,
        files_token=environ.get("SAMOVAR_FILES_TOKEN") or load_secret(data_dir / FILES_TOKEN_FILE, prefix="smv_"),
    )


def _load_private_key(file: Path) -> str:
    if not file.exists():
        write_private_file(file, token_hex(32) + "\n")  # any 32 bytes are a private key of Curve25519
    try:
        return _check_key(str(file), file.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from None


def _check_key(source: str, text: str) -> str:
    """Check a private key. Raises `UsageError` for a damaged one.

    It is never replaced by a new one: nobody could open what was sealed before.
    """
    if not KEY_PATTERN.fullmatch(text):
        raise UsageError(f"{source} must hold 64 hex digits; put the right key back, or remove it to get a new one")
    return text.lower()


def _derive_public_key(private: str) -> str:
    from nacl.public import PrivateKey

    return bytes(PrivateKey(bytes.fromhex(private)).public_key).hex()
