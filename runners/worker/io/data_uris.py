"""`data:` URIs: files that stand in the address itself."""

import base64
import binascii
from urllib.parse import unquote_to_bytes


class NotData(ValueError):
    """It is no such URI; the message says why."""


def read(uri: str) -> tuple[str, bytes]:
    """Its media type, and what it holds."""
    head, comma, body = uri[len("data:") :].partition(",")
    if not comma:
        raise NotData("the data: URI has no comma")
    media, *options = head.split(";")
    plain = unquote_to_bytes(body)
    if "base64" not in [option.strip().lower() for option in options]:
        return media or "text/plain", plain
    try:
        return media, base64.b64decode(b"".join(plain.split()), validate=True)
    except binascii.Error as error:
        raise NotData(f"the data: URI cannot be decoded: {error}") from None
