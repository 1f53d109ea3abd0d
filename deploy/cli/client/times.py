"""Moments as people type them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from deploy.errors import Unusable

AGO: Final = re.compile(r"(\d{1,6})\s*(s|min|h|d)")
UNITS: Final = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime | None = None) -> str:
    """As the API takes it; a time span is so long ago, and what names no zone is local. Raises `Unusable`."""
    try:
        if ago := AGO.fullmatch(text):
            at = (now or datetime.now(UTC)) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        else:
            at = datetime.fromisoformat(text)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise Unusable(f"{text}: give a moment such as 2026-01-31T12:00:00Z, or a time span: 30min, 2h, 7d") from None
