"""Ids of predictions, and the unguessable tokens that stand for them in stream URLs."""

import base64
import hashlib
import hmac
import secrets

from schemas.subjects import ALPHABET, ID_LENGTH, TAG_LENGTH

MAC = 18  # bytes: 144 bits, and base64 needs no padding


def draw_tag() -> str:
    """What the ids of one gateway's life begin with; two gateways that drew the same one merely hear more."""
    return "".join(secrets.choice(ALPHABET) for _ in range(TAG_LENGTH))


def draw(tag: str) -> str:
    """Five bits a character, 110 of them random."""
    bits = secrets.randbits(5 * (ID_LENGTH - TAG_LENGTH))
    return tag + "".join(ALPHABET[bits >> shift & 31] for shift in range(0, 5 * (ID_LENGTH - TAG_LENGTH), 5))


class Capabilities:
    """Tokens that let their bearer follow one prediction, and nothing else."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, id: str) -> str:
        mac = hmac.digest(self._secret, b"stream:" + id.encode(), hashlib.sha256)[:MAC]
        return id + base64.urlsafe_b64encode(mac).decode()

    def id(self, token: str) -> str | None:
        """The prediction that a token stands for; None for one that we did not make."""
        id = token[:ID_LENGTH]
        return id if token.isascii() and hmac.compare_digest(token, self.token(id)) else None
