"""Secret inputs, which a gateway seals for the installation's private key."""

import base64
import binascii

from msgspec import DecodeError
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from runners.errors import BadInput
from schemas.inputs import SEALED_PREFIX, decode_secret


class SecretBox:
    """Opens sealed secrets with the private key, a hex string; without a key it opens none."""

    def __init__(self, key: str | None) -> None:
        self._box = SealedBox(PrivateKey(bytes.fromhex(key))) if key is not None else None

    def open(self, text: str, id: str) -> str:
        """Return the secret in a sealed text of the prediction `id`. Raises `BadInput`."""
        if self._box is None:
            raise BadInput("a secret input cannot be opened: this runner has no SAMOVAR_SECRETS_KEY")
        try:
            sealed = base64.b64decode(text.removeprefix(SEALED_PREFIX), validate=True)
            secret = decode_secret(self._box.decrypt(sealed))
        except (binascii.Error, CryptoError, DecodeError, ValueError) as error:
            # Not `from error`: a decoder's message may quote the secret.
            reason = "it was not sealed for this runner's SAMOVAR_SECRETS_KEY, or it was changed"
            del error
            raise BadInput(f"a secret input cannot be opened: {reason}") from None
        if secret.prediction != id:
            raise BadInput("a secret input cannot be opened: it was sealed for another prediction")
        return secret.value
