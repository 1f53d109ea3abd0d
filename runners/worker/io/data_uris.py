"""`data:` URIs: files that stand in the address itself."""

import base64
import binascii
from urllib.parse import unquote_to_bytes


class InvalidDataURI(ValueError):
    """The text is not a `data:` URI; the message says why."""


def decode(uri: str) -> tuple[str, bytes]:
    """Return the media type and the content of a `data:` URI. Raises `InvalidDataURI`."""
    head, comma, body = uri[len("data:") :].partition(",")
    if not comma:
        raise InvalidDataURI("the data: URI has no comma")
    media_type, *options = head.split(";")
    content = unquote_to_bytes(body)
    if "base64" not in [option.strip().lower() for option in options]:
        return media_type or "text/plain", content
    try:
        return media_type, base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise InvalidDataURI(f"the data: URI cannot be decoded: {error}") from None
