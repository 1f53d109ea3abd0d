"""Safe names for files that come from elsewhere."""

import os
from typing import Final
from urllib.parse import unquote, urlsplit

_MAX_BYTES: Final = 200
_DEFAULT_NAME: Final = "file"


def name_from_url(url: str) -> str:
    """Return a safe file name from the last part of a URL's path. Raises `ValueError` for a URL that cannot be read."""
    return safe_name(unquote(os.path.basename(urlsplit(url).path)))


def name_from_media_type(media_type: str) -> str:
    """Return a file name with the suffix that is usual for the media type."""
    import mimetypes  # reads the system's tables

    return _DEFAULT_NAME + (mimetypes.guess_extension(media_type) or "")


def safe_name(name: str) -> str:
    """Return the name so that it stays in its folder and is not too long. Its suffix is kept."""
    name = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in name).lstrip(".~- ") or _DEFAULT_NAME
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(suffix.encode()) <= _MAX_BYTES // 4 else ""
    stem = stem if suffix else name
    return stem.encode("utf-8", "replace")[: _MAX_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix
