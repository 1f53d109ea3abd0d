"""Media types of files, by name or by how the content begins."""

import mimetypes
from typing import Final

BINARY: Final = "application/octet-stream"
SNIFF_BYTES: Final = 512
"""Bytes at the start of a file that are looked at."""

TYPES_BY_SUFFIX: Final = {
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
"""Types for which Python's own table says something else, or nothing, on some systems."""

TYPES_BY_PREFIX: Final = (
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
RIFF_TYPES: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
BOX_TYPES: Final = {b"avif": "image/avif", b"heic": "image/heic", b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}


def guess_by_name(name: str) -> str | None:
    """Return the media type that a file's name suggests, or None."""
    suffix = name.lower().rpartition(".")[2]
    if f".{suffix}" in TYPES_BY_SUFFIX:
        return TYPES_BY_SUFFIX[f".{suffix}"]
    kind, encoding = mimetypes.guess_type(name)
    return kind if encoding is None else BINARY


def guess_by_content(start: bytes) -> str:
    """Return the media type that the first `SNIFF_BYTES` of a file suggest."""
    for prefix, kind in TYPES_BY_PREFIX:
        if start.startswith(prefix):
            return kind
    if start.startswith(b"RIFF"):
        return RIFF_TYPES.get(start[8:12], BINARY)
    if start[4:8] == b"ftyp":
        return BOX_TYPES.get(start[8:12], "video/mp4")
    return "text/plain" if _is_text(start) else BINARY


def _is_text(start: bytes) -> bool:
    """Return whether bytes are text without control characters; the last character may be cut off."""
    for end in range(len(start), max(len(start) - 4, 0), -1):
        try:
            text = start[:end].decode()
        except UnicodeDecodeError:
            continue
        return all(each.isprintable() or each in "\t\n\r\f" for each in text)
    return False
