"""Ids, and the unguessable tokens and signatures that stand for them in URLs."""

import base64
import hmac
import os
import secrets
import string
from hashlib import blake2b
from typing import Final

from schemas.subjects import ALPHABET, ID_LENGTH, TAG_LENGTH

MAC_BYTES: Final = 18  # 144 bits, for which base64 needs no padding
UPLOAD_LENGTH: Final = 48
TOKEN_LENGTH: Final = 37
LETTERS: Final = bytes(ALPHABET[byte & 31].encode()[0] for byte in range(256))  # as even as the bytes are


def new_tag() -> str:
    """Draw the beginning of all ids of one gateway process.

    Two gateways that drew the same one merely receive more events.
    """
    return _random(TAG_LENGTH)


def new_id(tag: str) -> str:
    """Draw the id of a prediction: five bits a character, 110 of them random."""
    return tag + _random(ID_LENGTH - TAG_LENGTH)


def new_upload_id() -> str:
    """Draw the id of an uploaded file."""
    return _random(UPLOAD_LENGTH)


def new_api_token() -> str:
    """Draw an API token in the shape of Replicate's, with 220 random bits."""
    return "r8_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(TOKEN_LENGTH))


def _random(length: int) -> str:
    return os.urandom(length).translate(LETTERS).decode()


class Capabilities:
    """The maker and checker of tokens and signatures, from one secret that all gateways share.

    A stream token lets its bearer follow one prediction, and nothing else.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def stream_token(self, id: str) -> str:
        """Return the token of a prediction's stream URL."""
        mac = blake2b(id.encode(), digest_size=MAC_BYTES, key=self._secret, person=b"stream").digest()
        return id + base64.urlsafe_b64encode(mac).decode()

    def sign(self, text: str) -> str:
        """Sign what a download URL says of itself."""
        return base64.b64encode(hmac.digest(self._secret, text.encode(), "sha256")).decode()

    def is_signed(self, text: str, signature: str) -> bool:
        """Return whether the signature is that of the text."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode())

    def prediction_id(self, token: str) -> str | None:
        """Return the prediction that a token stands for; None for a token that no gateway made."""
        id = token[:ID_LENGTH]
        return id if token.isascii() and hmac.compare_digest(token, self.stream_token(id)) else None
