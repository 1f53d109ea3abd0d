"""Timestamps as the API writes them."""

from datetime import datetime


def rfc3339(moment: datetime) -> str:
    """Of a moment in UTC, as all of ours are."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
