"""Where things are in the file store."""

import re
from typing import Final


def pack(digest: str) -> str:
    """The tar archive of a folder, by its sha256."""
    return f"packs/{digest}.tar"


def manifest(version: str) -> str:
    """`schemas.models.Manifest` of a pushed version."""
    return f"versions/{version}.json"


def input(digest: str) -> str:
    """An input too large for a message, by its sha256."""
    return f"in/{digest}"


def outputs(id: str) -> str:
    """The folder of all that a prediction made."""
    return f"out/{id}"


def output(id: str, drawn: str, name: str) -> str:
    """What a prediction made; whoever can guess `drawn` may read it."""
    return f"{outputs(id)}/{drawn}/{safe(name)}"


def value(id: str, drawn: str, digest: str) -> str:
    """A value of an output, too large for a message: its JSON text, by its sha256."""
    return output(id, drawn, f"{digest}.json")


def upload(id: str, name: str) -> str:
    """A file that a client uploaded."""
    return f"up/{id}/{safe(name)}"


def safe(name: str) -> str:
    """Any file name as a part of a key, of a URL and of a path; its suffix stays."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-100:].lstrip(".") or "file"


INCOMING: Final = "incoming"
"""Folder of archives that are not all there, or whose hash nobody has seen yet."""
