"""Responses with a stored file: all of it, a range of it, its headers, or 304 for a client that has it."""

import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, Final

from litestar import Response
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from gateway.errors import BadRange
from gateway.files.store import FileStore, StoredFile
from gateway.http.asgi import AnyRequest, header

BYTE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class FileDescription(Struct, frozen=True, kw_only=True):
    """A stored file and the headers of its responses."""

    stored: StoredFile
    media_type: str
    etag: str | None
    """The ETag, in quotes."""
    extra_headers: Mapping[str, str]
    """Headers beside those that every file has."""

    @property
    def headers(self) -> dict[str, str]:
        """All headers of a response with the whole file, but for its media type."""
        return file_headers(self.stored) | dict(self.extra_headers) | ({"ETag": self.etag} if self.etag else {})


def head_response(request: AnyRequest, file: FileDescription) -> Response[None]:
    """Answer HEAD, or a GET by a client that has the file already."""
    headers = file.headers
    if file.etag and matches_etag(header(request, b"if-none-match"), file.etag):
        del headers["Content-Length"]
        return HeadersOnlyResponse(304, headers)
    charset = "; charset=utf-8" if file.media_type.startswith("text/") else ""  # as litestar adds it to a GET
    return HeadersOnlyResponse(200, headers | {"Content-Type": file.media_type + charset})


async def file_response(request: AnyRequest, file: FileDescription, files: FileStore) -> Response[Any]:
    """Answer GET with the file, a range of it, 304 or 416."""
    about, headers = file.stored, file.headers
    if (known := head_response(request, file)).status_code == 304:
        return known
    try:
        range = _requested_range(request, file)
    except BadRange as error:
        refused = {"Content-Range": f"bytes */{about.size}", "Accept-Ranges": "bytes"}
        return Response(error.problem(), status_code=416, media_type="application/problem+json", headers=refused)
    start, end = range or (0, about.size)
    size, pieces = await (files.open(about.key, start, end) if about.size else files.open(about.key))
    headers["Content-Length"] = str(size)
    if range:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{about.size}"
    return Stream(pieces, media_type=file.media_type, headers=headers, status_code=206 if range else 200)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte of the range, and the one after its last; None for the whole file.

    A request for several ranges gets the whole file. Raises `BadRange`.
    """
    match = BYTE_RANGE.fullmatch((header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if first and last and int(last) < int(first):
        return None  # no range at all
    if start >= end:
        raise BadRange(f"The file has {size} bytes.")
    return start, end


def quote_etag(etag: str | None) -> str | None:
    """Return a strong ETag as HTTP writes it, in quotes."""
    return f'"{etag.removeprefix("W/").strip(chr(34))}"' if etag else None


def matches_etag(if_none_match: str | None, etag: str) -> bool:
    """Return whether an If-None-Match header names the ETag."""
    tags = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]


def file_headers(stored: StoredFile) -> dict[str, str]:
    """Return the headers that a response with any stored file has."""
    return {
        "Content-Length": str(stored.size),
        "Last-Modified": format_datetime(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }


class HeadersOnlyResponse(Response[None]):
    """A response without a body.

    Its Content-Length is that of the response to GET, which litestar would take for a mistake.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, status_code=status)
        self._fields = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the function that sends the headers."""
        return self._send

    async def _send(self, _: Scope, __: Receive, send: Send) -> None:
        headers: Any = [(name.lower().encode(), value.encode()) for name, value in self._fields.items()]
        await send({"type": "http.response.start", "status": self.status_code or 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _requested_range(request: AnyRequest, file: FileDescription) -> tuple[int, int] | None:
    """Return the range that the client asks for; None if it has a part of another file. Raises `BadRange`."""
    condition = header(request, b"if-range")
    if condition is not None and condition not in {file.etag, file.headers["Last-Modified"]}:
        return None
    return parse_range(header(request, b"range"), file.stored.size)
