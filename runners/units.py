"""Amounts of memory, as people write them."""

import re
from typing import Final

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?")
PATTERN: Final = r"^\s*\d+(\.\d+)?\s*([KMGTkmgt]i?)?[Bb]?\s*$"


def parse_bytes(text: str) -> int:
    """Return the bytes of a text such as `2GB`, `512MiB`, `1.5G` or `800000000`. Raises `ValueError`."""
    match = _TEXT.fullmatch(text.strip().upper().replace("I", "i"))
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory; write it as 2GB, 512MiB or 800000000")
    number, unit = match.groups()
    return round(float(number) * (_UNITS | _BINARY)[unit or ""])


def format_bytes(size: int) -> str:
    """Format bytes as megabytes, and from ten gigabytes on as gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 10**10 else f"{size / 1e6:.0f} MB"
