"""Timestamps as the API writes them."""

from datetime import datetime


def format_rfc3339(time: datetime) -> str:
    """Format a time in UTC, as all of ours are, with microseconds and a `Z`."""
    return time.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
