"""Parsers of the request headers that say how long to wait."""

import re
from typing import Final

from gateway.errors import Unprocessable

WAIT: Final = re.compile(r"wait(?:=(\d{1,3}))?")
SPAN: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?")
SMALLEST: Final = -(2**63)
LARGEST: Final = 2**64 - 1
LONGEST: Final = 24 * 3600  # seconds
SHORTEST: Final = 5


def parse_prefer(prefer: str | None, longest: float) -> float | None:
    """Seconds to hold a create, from its `Prefer` header; None for not at all.

    Preferences that are not ours are ignored, as RFC 7240 asks. A little less than was asked: the answer has to be
    there before the client stops reading.
    """
    for preference in (prefer or "").split(","):
        found = WAIT.fullmatch(preference.strip().lower())
        if found:
            asked = min(int(found[1] or 60), 60)
            if asked < 1:
                raise Unprocessable("Prefer: wait takes 1 to 60 seconds.")
            return min(asked - 0.05, longest)
    return None


def parse_cancel_after(header: str | None) -> float | None:
    """Seconds, from `30`, `30s`, `5m` or `1h30m45s`. Raises `Unprocessable`."""
    if header is None:
        return None
    found = SPAN.fullmatch(header.strip())
    if not found or not any(found.groups()):
        raise Unprocessable("Cancel-After: give a time span such as 30s, 5m or 1h30m45s.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    span = hours * 3600 + minutes * 60 + seconds
    if not SHORTEST <= span <= LONGEST:
        raise Unprocessable("Cancel-After: the time span must be from 5 seconds to 24 hours.")
    return float(span)
