"""Idempotency: which requests may be repetitions of an earlier one, by their headers."""

import hashlib
import re
from typing import Final

from msgspec import Struct

from gateway.errors import Unprocessable

KEY_PATTERN: Final = re.compile(r"[\x21-\x7e]{1,255}")
RETRY_COUNT: Final = re.compile(r"0*(\d{1,9})")
BAD_KEY: Final = "Idempotency-Key: give 1 to 255 visible ASCII characters, such as a UUID."


class IdempotentRequest(Struct, frozen=True):
    """A request that its client may send more than once."""

    digest: bytes
    """The hash of all that makes two requests the same."""
    key: str | None
    counts_retries: bool
    """Whether the client repeats requests by itself, and counts them in a header."""
    is_retry: bool

    @property
    def may_repeat(self) -> bool:
        """Whether the request may be a repetition of an earlier one."""
        return self.key is not None or self.is_retry


def parse_request(path: str, body: bytes, key: str | None, count: str | None) -> IdempotentRequest | None:
    """Parse the headers of a request; None if they say nothing of repetition. Raises `Unprocessable`."""
    if key is None and count is None:
        return None
    if key is not None and not KEY_PATTERN.fullmatch(key):
        raise Unprocessable(BAD_KEY)
    match = RETRY_COUNT.fullmatch(count or "")
    digest = hashlib.sha256(path.encode() + b"\0" + body).digest()
    return IdempotentRequest(
        digest, key, counts_retries=match is not None, is_retry=match is not None and int(match[1]) > 0
    )
