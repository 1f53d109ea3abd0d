"""A file of the store as an answer: whole, a part of it, its headers, or that the client has it already."""

import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, Final

from litestar import Response
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from gateway.errors import BadRange
from gateway.files.store import Files, Stored
from gateway.http.context import AnyRequest, header

RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Sending(Struct, frozen=True, kw_only=True):
    about: Stored
    media_type: str
    etag: str | None
    """In quotes."""
    more: Mapping[str, str]
    """Headers."""

    @property
    def headers(self) -> dict[str, str]:
        return about_headers(self.about) | dict(self.more) | ({"ETag": self.etag} if self.etag else {})


def described(request: AnyRequest, sending: Sending) -> Response[None]:
    """To HEAD; to GET by a client that has it."""
    headers = sending.headers
    if sending.etag and has(header(request, b"if-none-match"), sending.etag):
        del headers["Content-Length"]
        return Bare(304, headers)
    charset = "; charset=utf-8" if sending.media_type.startswith("text/") else ""  # as litestar says it with GET
    return Bare(200, headers | {"Content-Type": sending.media_type + charset})


async def sent(request: AnyRequest, sending: Sending, files: Files) -> Response[Any]:
    """To GET."""
    about, headers = sending.about, sending.headers
    if (known := described(request, sending)).status_code == 304:
        return known
    try:
        asked = _span(request, sending)
    except BadRange as error:
        refused = {"Content-Range": f"bytes */{about.size}", "Accept-Ranges": "bytes"}
        return Response(error.problem(), status_code=416, media_type="application/problem+json", headers=refused)
    start, end = asked or (0, about.size)
    size, pieces = await (files.open(about.key, start, end) if about.size else files.open(about.key))
    headers["Content-Length"] = str(size)
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{about.size}"
    return Stream(pieces, media_type=sending.media_type, headers=headers, status_code=206 if asked else 200)


def span(asked: str | None, size: int) -> tuple[int, int] | None:
    """From its first byte to the one after its last; None for the whole, also when several parts are asked for.

    Raises `BadRange`.
    """
    found = RANGE.fullmatch((asked or "").strip())
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if first and last and int(last) < int(first):
        return None  # no range at all
    if start >= end:
        raise BadRange(f"The file has {size} bytes.")
    return start, end


def quoted(etag: str | None) -> str | None:
    """As HTTP writes one that is strong."""
    return f'"{etag.removeprefix("W/").strip(chr(34))}"' if etag else None


def has(given: str | None, etag: str) -> bool:
    """Whether If-None-Match names it."""
    tags = [each.strip().removeprefix("W/") for each in (given or "").split(",")]
    return etag in tags or tags == ["*"]


def about_headers(about: Stored) -> dict[str, str]:
    return {
        "Content-Length": str(about.size),
        "Last-Modified": format_datetime(about.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }


class Bare(Response[None]):
    """Headers only: their Content-Length is that of the answer to GET, which litestar takes for a mistake."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, status_code=status)
        self._fields = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._send

    async def _send(self, _: Scope, __: Receive, send: Send) -> None:
        headers: Any = [(name.lower().encode(), value.encode()) for name, value in self._fields.items()]
        await send({"type": "http.response.start", "status": self.status_code or 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _span(request: AnyRequest, sending: Sending) -> tuple[int, int] | None:
    """What is asked for of a file that is still the one which the client has a part of. Raises `BadRange`."""
    condition = header(request, b"if-range")
    if condition is not None and condition not in {sending.etag, sending.headers["Last-Modified"]}:
        return None
    return span(header(request, b"range"), sending.about.size)
