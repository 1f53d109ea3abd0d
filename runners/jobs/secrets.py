"""Secret inputs, sealed by a gateway for the private key of the installation."""

import base64
import binascii

from msgspec import DecodeError
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from runners.errors import BadInput
from schemas.inputs import SEALED, decode_secret


class Secrets:
    def __init__(self, key: str | None) -> None:
        self._box = SealedBox(PrivateKey(bytes.fromhex(key))) if key is not None else None

    def opened(self, text: str, id: str) -> str:
        """What is sealed in a text of the prediction `id`. Raises `BadInput`."""
        if self._box is None:
            raise BadInput("a secret input cannot be opened: this runner has no SAMOVAR_SECRETS_KEY")
        try:
            sealed = base64.b64decode(text.removeprefix(SEALED), validate=True)
            secret = decode_secret(self._box.decrypt(sealed))
        except (binascii.Error, CryptoError, DecodeError, ValueError) as error:
            # Not `from`: what was opened may stand in a decoder's complaint.
            reason = "it was not sealed for this runner's SAMOVAR_SECRETS_KEY, or it was changed"
            del error
            raise BadInput(f"a secret input cannot be opened: {reason}") from None
        if secret.prediction != id:
            raise BadInput("a secret input cannot be opened: it was sealed for another prediction")
        return secret.value
