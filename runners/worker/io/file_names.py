"""What to call a file that came from elsewhere."""

import os
from typing import Final
from urllib.parse import unquote, urlsplit

_LONGEST: Final = 200  # bytes
_NAMELESS: Final = "file"


def of_url(url: str) -> str:
    return safe(unquote(os.path.basename(urlsplit(url).path)))


def of_data(media: str) -> str:
    import mimetypes  # reads the system's tables

    return _NAMELESS + (mimetypes.guess_extension(media) or "")


def safe(name: str) -> str:
    """One that stays in its folder and keeps its suffix."""
    name = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in name).lstrip(".~- ") or _NAMELESS
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(suffix.encode()) <= _LONGEST // 4 else ""
    stem = stem if suffix else name
    return stem.encode("utf-8", "replace")[: _LONGEST - len(suffix.encode())].decode("utf-8", "ignore") + suffix
