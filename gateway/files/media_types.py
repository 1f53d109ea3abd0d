"""The media type of a file: by its name, else by how it begins."""

import mimetypes
from typing import Final

ANY: Final = "application/octet-stream"
SNIFFED: Final = 512
"""Bytes of its beginning."""

BY_NAME: Final = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".glb": "model/gltf-binary",
    ".gz": "application/gzip",
    ".jsonl": "application/jsonl",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}
"""Where Python's own table says something else, or nothing, on some systems."""

BY_START: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
IN_RIFF: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
IN_BOX: Final = {b"avif": "image/avif", b"heic": "image/heic", b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}


def by_name(name: str) -> str | None:
    """None if it says nothing."""
    ending = name.lower().rpartition(".")[2]
    if f".{ending}" in BY_NAME:
        return BY_NAME[f".{ending}"]
    kind, packed = mimetypes.guess_type(name)
    return kind if packed is None else ANY


def by_start(start: bytes) -> str:
    for begins, kind in BY_START:
        if start.startswith(begins):
            return kind
    if start.startswith(b"RIFF"):
        return IN_RIFF.get(start[8:12], ANY)
    if start[4:8] == b"ftyp":
        return IN_BOX.get(start[8:12], "video/mp4")
    return "text/plain" if _is_text(start) else ANY


def _is_text(start: bytes) -> bool:
    """Without control characters; its last character may be cut off."""
    for end in range(len(start), max(len(start) - 4, 0), -1):
        try:
            text = start[:end].decode()
        except UnicodeDecodeError:
            continue
        return all(each.isprintable() or each in "\t\n\r\f" for each in text)
    return False
