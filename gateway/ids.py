"""Ids of predictions, and the unguessable tokens that stand for them in stream URLs."""

import base64
import hmac
import os
import secrets
import string
from hashlib import blake2b
from typing import Final

from schemas.subjects import ALPHABET, ID_LENGTH, TAG_LENGTH

MAC: Final = 18  # bytes: 144 bits, and base64 needs no padding
UPLOAD_LENGTH: Final = 48
TOKEN_LENGTH: Final = 37
LETTERS: Final = bytes(ALPHABET[byte & 31].encode()[0] for byte in range(256))  # as even as the bytes are


def draw_tag() -> str:
    """What the ids of one gateway's life begin with; two gateways that drew the same one merely hear more."""
    return _random(TAG_LENGTH)


def draw(tag: str) -> str:
    """Five bits a character, 110 of them random."""
    return tag + _random(ID_LENGTH - TAG_LENGTH)


def draw_upload() -> str:
    return _random(UPLOAD_LENGTH)


def draw_token() -> str:
    """An API token, in the shape that Replicate's have: 220 random bits."""
    return "r8_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(TOKEN_LENGTH))


def _random(length: int) -> str:
    return os.urandom(length).translate(LETTERS).decode()


class Capabilities:
    """Tokens that let their bearer follow one prediction, and nothing else."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, id: str) -> str:
        mac = blake2b(id.encode(), digest_size=MAC, key=self._secret, person=b"stream").digest()
        return id + base64.urlsafe_b64encode(mac).decode()

    def signature(self, text: str) -> str:
        """Of what a download URL says of itself."""
        return base64.b64encode(hmac.digest(self._secret, text.encode(), "sha256")).decode()

    def signed(self, text: str, signature: str) -> bool:
        return hmac.compare_digest(self.signature(text).encode(), signature.encode())

    def id(self, token: str) -> str | None:
        """The prediction that a token stands for; None for one that we did not make."""
        id = token[:ID_LENGTH]
        return id if token.isascii() and hmac.compare_digest(token, self.token(id)) else None
