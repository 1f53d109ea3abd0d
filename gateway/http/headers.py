"""Parsers of the request headers that say how long to wait, or when to cancel."""

import re
from typing import Final

from gateway.errors import Unprocessable

WAIT_PREFERENCE: Final = re.compile(r"wait(?:=(\d{1,3}))?")
TIME_SPAN: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?")
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
MAX_CANCEL_AFTER: Final = 24 * 3600  # seconds
MIN_CANCEL_AFTER: Final = 5


def parse_prefer(prefer: str | None, max_wait: float) -> float | None:
    """Return the seconds to hold a create, from its `Prefer` header; None for not at all.

    Preferences that are not ours are ignored, as RFC 7240 asks. The result is a little less than the client asked for:
    the response has to arrive before the client stops reading.
    """
    for preference in (prefer or "").split(","):
        match = WAIT_PREFERENCE.fullmatch(preference.strip().lower())
        if match:
            seconds = min(int(match[1] or 60), 60)
            if seconds < 1:
                raise Unprocessable("Prefer: wait takes 1 to 60 seconds.")
            return min(seconds - 0.05, max_wait)
    return None


def parse_cancel_after(header: str | None) -> float | None:
    """Return the seconds in a `Cancel-After` header: `30`, `30s`, `5m` or `1h30m45s`. Raises `Unprocessable`."""
    if header is None:
        return None
    match = TIME_SPAN.fullmatch(header.strip())
    if not match or not any(match.groups()):
        raise Unprocessable("Cancel-After: give a time span such as 30s, 5m or 1h30m45s.")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not MIN_CANCEL_AFTER <= total <= MAX_CANCEL_AFTER:
        raise Unprocessable("Cancel-After: the time span must be from 5 seconds to 24 hours.")
    return float(total)
