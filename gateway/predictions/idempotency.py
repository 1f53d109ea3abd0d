"""What a client says of a request that it may send again, by its headers."""

import hashlib
import re
from typing import Final

from msgspec import Struct

from gateway.errors import Unprocessable

KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
COUNT: Final = re.compile(r"0*(\d{1,9})")
BAD_KEY: Final = "Idempotency-Key: give 1 to 255 visible ASCII characters, such as a UUID."


class Sent(Struct, frozen=True):
    request: bytes
    """A hash of all that makes two requests the same."""
    key: str | None
    counts: bool
    """The client repeats requests by itself, and says so with each."""
    again: bool

    @property
    def once(self) -> bool:
        """It may be the repetition of another."""
        return self.key is not None or self.again


def sent(path: str, body: bytes, key: str | None, count: str | None) -> Sent | None:
    """None for a request that says nothing of this. Raises `Unprocessable`."""
    if key is None and count is None:
        return None
    if key is not None and not KEY.fullmatch(key):
        raise Unprocessable(BAD_KEY)
    found = COUNT.fullmatch(count or "")
    request = hashlib.sha256(path.encode() + b"\0" + body).digest()
    return Sent(request, key, counts=found is not None, again=found is not None and int(found[1]) > 0)
