"""/files: what clients upload."""

from typing import Any, Final

from litestar import Response, Router, delete, get, head, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import NotFound
from gateway.files.uploads import disposition
from gateway.http.context import AnyRequest, answer, caller, cursor, header, paged, parts, views
from gateway.http.file_response import Sending, described, quoted, sent
from gateway.openapi.operations import PageOperation, StreamOperation, UploadOperation
from gateway.routes.pushes import content
from gateway.routes.streams import SAFE, stream
from gateway.store.accounts import Account
from gateway.store.uploads import Upload
from gateway.views.resources import UploadView
from schemas import keys

PAGE: Final = 100
STREAM: Final = "str-"


@post("/files", operation_id="files.create", operation_class=UploadOperation, request_max_body_size=None)
async def create(request: AnyRequest) -> Response[bytes]:
    """Upload a file, to be used as an input. It is kept for a day, unless the installation says otherwise."""
    account = await caller(request, "predict")
    kind = header(request, b"content-type") or ""
    upload = await parts(request).uploading.add(account.id, kind, content(request))
    return answer(_view(request, upload, account), 201)


@get("/files", operation_id="files.list", operation_class=PageOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Your files, newest first."""
    account = await caller(request)
    found = await parts(request).uploads.page(account.id, cursor(request), PAGE)
    return paged(request, found, [_view(request, upload, account) for upload in found.rows])


@get("/files/{file_id:str}", operation_id="files.get", operation_class=StreamOperation)
async def show(request: AnyRequest, file_id: FromPath[str]) -> Response[bytes] | Stream:
    """What is known of a file; or, if the id begins with `str-`, the stream of a prediction whose outputs are files."""
    if file_id.startswith(STREAM):
        return await stream.fn(request, file_id.removeprefix(STREAM))
    account = await caller(request)
    upload = await parts(request).uploads.get(file_id, account.id)
    if upload is None:
        raise NotFound("File not found")
    return answer(_view(request, upload, account))


@delete("/files/{file_id:str}", operation_id="files.delete")
async def remove(request: AnyRequest, file_id: FromPath[str]) -> None:
    account = await caller(request, "predict")
    await parts(request).uploading.remove(file_id, account.id)


@get("/files/{file_id:str}/download", operation_id="files.download", security=[{}])
async def download(request: AnyRequest, file_id: FromPath[str]) -> Response[Any]:
    """Its bytes, or the part of them that the Range header names, for whoever knows its signed URL."""
    return await sent(request, await _download(request, file_id), parts(request).files)


@head("/files/{file_id:str}/download", operation_id="files.download.head", security=[{}])
async def download_head(request: AnyRequest, file_id: FromPath[str]) -> Response[None]:
    """What is known of them."""
    return described(request, await _download(request, file_id))


router: Router = Router("/", route_handlers=[create, page, show, remove, download, download_head], tags=["files"])


def _view(request: AnyRequest, upload: Upload, account: Account) -> UploadView:
    return views(request).upload(upload, parts(request).uploading.download(upload, account.username))


async def _download(request: AnyRequest, file_id: str) -> Sending:
    here = parts(request)
    upload = await here.uploading.signed(file_id, request.scope["query_string"].decode("latin-1"))
    return Sending(
        about=await here.files.about(keys.upload(upload.id, upload.name)),
        media_type="application/octet-stream",
        etag=quoted(upload.md5),
        more={"Content-Disposition": disposition(upload.name), **SAFE},
    )
