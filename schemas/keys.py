"""The keys of the file store."""

import re
from typing import Final


def archive(digest: str) -> str:
    """Return the key of the tar archive of a model folder, by its sha256."""
    return f"packs/{digest}.tar"


def manifest(version: str) -> str:
    """Return the key of the `schemas.models.Manifest` of a pushed version."""
    return f"versions/{version}.json"


def input(digest: str) -> str:
    """Return the key of an input that is too large for a message, by its sha256."""
    return f"in/{digest}"


def outputs(id: str) -> str:
    """Return the folder of all files of a prediction's output."""
    return f"out/{id}"


def output(id: str, token: str, name: str) -> str:
    """Return the key of a file of a prediction's output; whoever can guess `token` may read it."""
    return f"{outputs(id)}/{token}/{safe_name(name)}"


def value(id: str, token: str, digest: str) -> str:
    """Return the key of the JSON text of an output that is too large for a message, by its sha256."""
    return output(id, token, f"{digest}.json")


def upload(id: str, name: str) -> str:
    """Return the key of a file that a client uploaded."""
    return f"up/{id}/{safe_name(name)}"


def safe_name(name: str) -> str:
    """Make a file name fit for a key, a URL and a path; its suffix stays."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-100:].lstrip(".") or "file"


INCOMING: Final = "incoming"
"""Folder of archives that are incomplete, or whose hash has not been checked yet."""
