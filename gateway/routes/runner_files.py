"""/-/files: the file store, for runners that do not share it with the gateway."""

import hmac
from collections.abc import AsyncGenerator
from typing import Final

from litestar import Response, Router, get, head, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import BadToken, BodyTooLarge, Forbidden, NotFound
from gateway.files.store import FileStore, StoredFile
from gateway.http.asgi import AnyRequest, header
from gateway.http.file_response import HeadersOnlyResponse, file_headers, parse_range
from gateway.routes.pushes import stream_body
from gateway.settings import Settings

READABLE_FOLDERS: Final = ("packs/", "versions/", "in/", "up/", "out/")
WRITABLE_FOLDER: Final = "out/"


@get("/{key:path}", operation_id="shared.get", include_in_schema=False)
async def read_file(
    request: AnyRequest, key: FromPath[str], file_store: NamedDependency[FileStore], settings: NamedDependency[Settings]
) -> Stream:
    """Read a file, or the part of it that the Range header names."""
    path = _authorize(request, key, settings)
    about = await file_store.stat(path)
    range = parse_range(header(request, b"range"), about.size)
    start, end = range or (0, about.size)
    size, pieces = await file_store.open(path, start, end) if about.size else await file_store.open(path)
    headers = _headers(about) | {"Content-Length": str(size)}
    if range:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{about.size}"
    return Stream(pieces, media_type="application/octet-stream", headers=headers, status_code=206 if range else 200)


@head("/{key:path}", operation_id="shared.head", include_in_schema=False)
async def describe_file(
    request: AnyRequest, key: FromPath[str], file_store: NamedDependency[FileStore], settings: NamedDependency[Settings]
) -> Response[None]:
    """Describe a file."""
    stored = await file_store.stat(_authorize(request, key, settings))
    return HeadersOnlyResponse(200, _headers(stored))


@put("/{key:path}", operation_id="shared.put", include_in_schema=False, request_max_body_size=None, status_code=201)
async def write_file(
    request: AnyRequest, key: FromPath[str], file_store: NamedDependency[FileStore], settings: NamedDependency[Settings]
) -> Response[None]:
    """Write an output file."""
    path = _authorize(request, key, settings)
    if not path.startswith(WRITABLE_FOLDER):  # 404 would have obstore try to make the folder
        raise Forbidden("Runners write outputs only, under out/.")
    limit, size = settings.max_push, 0

    async def limited() -> AsyncGenerator[bytes]:
        nonlocal size
        async for piece in stream_body(request):
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(f"A file may be {limit:,} bytes.")
            yield piece

    await file_store.receive(path, limited())
    stored = await file_store.stat(path)
    return Response(None, headers={"ETag": stored.etag or f'"{stored.size:x}"'})


router: Router = Router("/-/files", route_handlers=[read_file, describe_file, write_file])


def _authorize(request: AnyRequest, key: str, settings: Settings) -> str:
    """Return the key that a runner with the right token asks for. Raises `NotFound` or `BadToken`."""
    token = settings.files_token
    if token is None:
        raise NotFound
    scheme, _, credentials = (header(request, b"authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(credentials.strip().encode(), token.encode()):
        raise BadToken
    path = str(key).lstrip("/")
    if not path.startswith(READABLE_FOLDERS) or any(part in {"", ".", ".."} for part in path.split("/")):
        raise NotFound("File not found")
    return path


def _headers(about: StoredFile) -> dict[str, str]:
    return file_headers(about) | ({"ETag": about.etag} if about.etag else {})
