"""/-/files: the file store, for runners that do not share it."""

import hmac
from collections.abc import AsyncGenerator
from typing import Final

from litestar import Response, Router, get, head, put
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import BadToken, BodyTooLarge, Forbidden, NotFound
from gateway.files.store import Stored
from gateway.http.context import AnyRequest, header, parts
from gateway.http.file_response import Bare, about_headers, span
from gateway.routes.pushes import content

FOLDERS: Final = ("packs/", "versions/", "in/", "up/", "out/")
WRITTEN: Final = "out/"


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
    return Bare(200, _headers(found))


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


def _headers(about: Stored) -> dict[str, str]:
    return about_headers(about) | ({"ETag": about.etag} if about.etag else {})
