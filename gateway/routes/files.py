"""/files: files that clients upload."""

from typing import Any, Final

from litestar import Response, Router, delete, get, head, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import NotFound
from gateway.files.store import FileStore
from gateway.files.uploads import UploadService, content_disposition
from gateway.http.asgi import AnyRequest, header, json_response
from gateway.http.context import authenticate, page_cursor, page_response
from gateway.http.file_response import FileDescription, file_response, head_response, quote_etag
from gateway.openapi.operations import BYTES, EVENTS, JSON, UploadForm, file_operation, operation, page_of
from gateway.openapi.parameters import STREAM_OPTIONS
from gateway.routes.pushes import stream_body
from gateway.routes.streams import SAFE_HEADERS, stream_by_token
from gateway.store.accounts import Account
from gateway.store.uploads import Upload, UploadStore
from gateway.views.resources import UploadView, Views
from schemas import keys

PAGE_SIZE: Final = 100
STREAM_PREFIX: Final = "str-"


@post(
    "/files",
    operation_id="files.create",
    operation_class=operation(UploadView, body=UploadForm, body_media="multipart/form-data"),
    request_max_body_size=None,
)
async def upload_file(
    request: AnyRequest, uploads: NamedDependency[UploadService], views: NamedDependency[Views]
) -> Response[bytes]:
    """Upload a file to use as an input.

    It is kept for a day, unless the settings say otherwise.
    """
    account = await authenticate(request, "predict")
    media_type = header(request, b"content-type") or ""
    upload = await uploads.add(account.id, media_type, stream_body(request))
    return json_response(_upload_view(upload, account, uploads, views), 201)


@get("/files", operation_id="files.list", operation_class=page_of(UploadView))
async def list_files(
    request: AnyRequest,
    upload_store: NamedDependency[UploadStore],
    uploads: NamedDependency[UploadService],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """List your files, newest first."""
    account = await authenticate(request)
    page = await upload_store.page(account.id, page_cursor(request), PAGE_SIZE)
    return page_response(request, page, [_upload_view(upload, account, uploads, views) for upload in page.rows])


@get(
    "/files/{file_id:str}",
    operation_id="files.get",
    operation_class=operation(UploadView, media=(*JSON, *EVENTS), parameters=STREAM_OPTIONS),
)
async def get_file(
    request: AnyRequest,
    file_id: FromPath[str],
    upload_store: NamedDependency[UploadStore],
    uploads: NamedDependency[UploadService],
    views: NamedDependency[Views],
) -> Response[bytes] | Stream:
    """Get a file's description.

    If the id begins with `str-`, stream a prediction whose outputs are files instead.
    """
    if file_id.startswith(STREAM_PREFIX):
        return await stream_by_token(request, file_id.removeprefix(STREAM_PREFIX))
    account = await authenticate(request)
    upload = await upload_store.get(file_id, account.id)
    if upload is None:
        raise NotFound("File not found")
    return json_response(_upload_view(upload, account, uploads, views))


@delete("/files/{file_id:str}", operation_id="files.delete", operation_class=operation())
async def delete_file(request: AnyRequest, file_id: FromPath[str], uploads: NamedDependency[UploadService]) -> None:
    """Delete a file."""
    account = await authenticate(request, "predict")
    await uploads.remove(file_id, account.id)


@get(
    "/files/{file_id:str}/download",
    operation_id="files.download",
    operation_class=file_operation(*BYTES),
    security=[{}],
)
async def download_file(
    request: AnyRequest,
    file_id: FromPath[str],
    file_store: NamedDependency[FileStore],
    uploads: NamedDependency[UploadService],
) -> Response[Any]:
    """Download a file.

    Whoever knows its signed URL may do so. The `Range` header may ask for a part of it.
    """
    return await file_response(request, await _describe_download(request, file_id, file_store, uploads), file_store)


@head(
    "/files/{file_id:str}/download", operation_id="files.download.head", operation_class=file_operation(), security=[{}]
)
async def describe_download(
    request: AnyRequest,
    file_id: FromPath[str],
    file_store: NamedDependency[FileStore],
    uploads: NamedDependency[UploadService],
) -> Response[None]:
    """Describe a file that can be downloaded."""
    return head_response(request, await _describe_download(request, file_id, file_store, uploads))


router: Router = Router(
    "/",
    route_handlers=[upload_file, list_files, get_file, delete_file, download_file, describe_download],
    tags=["files"],
)


def _upload_view(upload: Upload, account: Account, uploads: UploadService, views: Views) -> UploadView:
    return views.upload(upload, uploads.download_path(upload, account.username))


async def _describe_download(
    request: AnyRequest, file_id: str, file_store: FileStore, uploads: UploadService
) -> FileDescription:
    upload = await uploads.find_signed(file_id, request.scope["query_string"].decode("latin-1"))
    return FileDescription(
        stored=await file_store.stat(keys.upload(upload.id, upload.name)),
        media_type="application/octet-stream",
        etag=quote_etag(upload.md5),
        extra_headers={"Content-Disposition": content_disposition(upload.name), **SAFE_HEADERS},
    )
