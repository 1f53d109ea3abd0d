"""/-/files: the file store, for runners that do not share it."""

import hmac
import re
from collections.abc import AsyncGenerator
from email.utils import format_datetime
from typing import Any, Final

from litestar import Response, Router, get, head, put
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.call import AnyRequest, header, parts
from gateway.errors import BadRange, BadToken, BodyTooLarge, Forbidden, NotFound
from gateway.files import Stored
from gateway.routes.pushes import content

FOLDERS: Final = ("packs/", "versions/", "in/", "up/", "out/")
WRITTEN: Final = "out/"
RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@get("/{key:path}", operation_id="shared.get", include_in_schema=False)
async def read(request: AnyRequest, key: FromPath[str]) -> Stream:
    """A file, or the part of it that the Range header names."""
    path = _allowed(request, key)
    here = parts(request)
    about = await here.files.about(path)
    asked = span(header(request, b"range"), about.size)
    start, end = asked or (0, about.size)
    size, pieces = await here.files.open(path, start, end) if about.size else await here.files.open(path)
    headers = _headers(about) | {"Content-Length": str(size)}
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{about.size}"
    return Stream(pieces, media_type="application/octet-stream", headers=headers, status_code=206 if asked else 200)


@head("/{key:path}", operation_id="shared.head", include_in_schema=False)
async def about(request: AnyRequest, key: FromPath[str]) -> Response[None]:
    found = await parts(request).files.about(_allowed(request, key))
    return Head(_headers(found))


@put("/{key:path}", operation_id="shared.put", include_in_schema=False, request_max_body_size=None, status_code=201)
async def write(request: AnyRequest, key: FromPath[str]) -> Response[None]:
    """An output file."""
    path = _allowed(request, key)
    if not path.startswith(WRITTEN):  # 404 would have obstore try to make the folder
        raise Forbidden("Runners write outputs only, under out/.")
    here = parts(request)
    limit, size = here.settings.max_push, 0

    async def limited() -> AsyncGenerator[bytes]:
        nonlocal size
        async for piece in content(request):
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(f"A file may be {limit:,} bytes.")
            yield piece

    await here.files.receive(path, limited())
    found = await here.files.about(path)
    return Response(None, headers={"ETag": found.etag or f'"{found.size:x}"'})


router: Router = Router("/-/files", route_handlers=[read, about, write])


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
    if start >= end:
        raise BadRange(f"The file has {size} bytes.")
    return start, end


def _allowed(request: AnyRequest, key: str) -> str:
    """The key, for who shows the token. Raises `NotFound` or `BadToken`."""
    token = parts(request).settings.files_token
    if token is None:
        raise NotFound
    scheme, _, shown = (header(request, b"authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), token.encode()):
        raise BadToken
    path = str(key).lstrip("/")
    if not path.startswith(FOLDERS) or any(part in {"", ".", ".."} for part in path.split("/")):
        raise NotFound("File not found")
    return path


class Head(Response[None]):
    """Headers only: their Content-Length is that of the answer to GET, which litestar takes for a mistake."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(None)
        self._fields = headers

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._send

    async def _send(self, _: Scope, __: Receive, send: Send) -> None:
        headers: Any = [(name.lower().encode(), value.encode()) for name, value in self._fields.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(about: Stored) -> dict[str, str]:
    headers = {
        "Content-Length": str(about.size),
        "Last-Modified": format_datetime(about.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    return headers | ({"ETag": about.etag} if about.etag else {})
