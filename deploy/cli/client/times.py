"""Times and time spans as people type them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from deploy.errors import UsageError

AGO: Final = re.compile(r"(\d{1,6})\s*(s|min|h|d)")
AGO_UNITS: Final = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}
SPAN: Final = re.compile(r"(\d{1,9})([smhd])")
SPAN_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_time(text: str, now: datetime | None = None) -> str:
    """Parse a time into the API's format: a span means that long ago, a time without a zone is local.

    Raises `UsageError`.
    """
    try:
        if ago := AGO.fullmatch(text):
            at = (now or datetime.now(UTC)) - timedelta(**{AGO_UNITS[ago[2]]: int(ago[1])})
        else:
            at = datetime.fromisoformat(text)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text}: write a time such as 2026-01-31T12:00:00Z, or how long ago it was: 30min, 2h, 7d"
        ) from None


def parse_span(text: str) -> int:
    """Parse the time span of `--expires-in`, such as 30d, into seconds. Raises `UsageError`."""
    match = SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise UsageError(f"--expires-in {text}: write a time span such as 90s, 45m, 12h or 30d")
    return int(match[1]) * SPAN_SECONDS[match[2]]
