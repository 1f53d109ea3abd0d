"""Amounts of memory as people write them."""

import re
from typing import Final

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?")
PATTERN: Final = r"^\s*\d+(\.\d+)?\s*([KMGTkmgt]i?)?[Bb]?\s*$"


def read(text: str) -> int:
    """Bytes of `2GB`, `512MiB`, `1.5G` or `800000000`. Raises `ValueError`."""
    wanted = text.strip()
    wanted = wanted.upper().replace("I", "i")
    found = _TEXT.fullmatch(wanted)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory; write it as 2GB, 512MiB or 800000000")
    number, unit = found.groups()
    return round(float(number) * (_UNITS | _BINARY)[unit or ""])


def said(size: int) -> str:
    """In megabytes below ten gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 10**10 else f"{size / 1e6:.0f} MB"
