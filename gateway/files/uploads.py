"""Files that clients upload: read as they arrive, kept for a time, found again by their URLs."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.message import Message
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from msgspec import Raw, Struct, json
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from gateway import ids
from gateway.errors import BadRequest, BodyTooLarge, NotFound, Unprocessable, UnsupportedMedia
from gateway.files.store import FileStore
from gateway.ids import Capabilities
from gateway.store.uploads import Upload, UploadStore
from schemas import keys

MAX_FIELD_BYTES: Final = 100_000
"""Bytes of all parts other than the file."""
MAX_NAME_BYTES: Final = 255
MAX_IN_MEMORY: Final = 1_000_000
PIECE_BYTES: Final = 256 * 1024
METADATA_FIELD: Final = re.compile(r"metadata((?:\[[^\[\]]{1,100}\]){1,8})")


class UploadForm(Struct, kw_only=True):
    """The parts of a multipart body; clients write them in four ways."""

    content: IO[bytes]
    size: int = 0
    has_content: bool = False
    filename: str | None = None
    type: str | None = None
    fields: dict[str, str] = {}


class UploadService:
    """Receives, finds and removes uploaded files, and signs the URLs of their downloads.

    It owns neither rows nor bytes: these are in the `UploadStore` and the `FileStore`. Used by the routes of files and
    to resolve inputs that are URLs of our own files.
    """

    def __init__(
        self, uploads: UploadStore, files: FileStore, capabilities: Capabilities, limit: int, lifetime: timedelta
    ) -> None:
        self._uploads = uploads
        self._files = files
        self._capabilities = capabilities
        self._limit = limit
        self._lifetime = lifetime

    async def add(self, account: int, media_type: str, body: AsyncGenerator[bytes]) -> Upload:
        """Store the file of a multipart body.

        Raises `UnsupportedMedia`, `BadRequest`, `BodyTooLarge` or `Unprocessable`.
        """
        with SpooledTemporaryFile(MAX_IN_MEMORY) as content:
            form = UploadForm(content=content)
            await self._read_form(form, media_type, body)
            if not form.has_content:
                raise Unprocessable("content: send the file in a part of this name.")
            sha256, md5 = await asyncio.to_thread(_digests, content)
            now = datetime.now(UTC)
            upload = Upload(
                id=ids.new_upload_id(),
                account=account,
                name=_file_name(form.fields.get("filename") or form.filename or "file"),
                content_type=(form.fields.get("type") or form.type or "application/octet-stream")[:MAX_NAME_BYTES],
                size=form.size,
                sha256=sha256,
                md5=md5,
                metadata=_parse_metadata(form.fields),
                created_at=now,
                expires_at=now + self._lifetime,
            )
            await self._files.receive(keys.upload(upload.id, upload.name), _pieces(content))
        await self._uploads.add(upload)  # if this fails, garbage collection finds the bytes
        return upload

    async def remove(self, id: str, account: int) -> None:
        """Delete a file of this account. Raises `NotFound`."""
        name = await self._uploads.delete(id, account)
        if name is None:
            raise NotFound("File not found")
        await self._files.remove(keys.upload(id, name))

    def download_path(self, upload: Upload, owner: str) -> str:
        """Return the path and query of a URL by which anybody may read the file until it expires."""
        expiry = int(upload.expires_at.timestamp())
        signature = self._capabilities.sign(_signed_text(owner, upload.id, expiry))
        return f"/v1/files/{upload.id}/download?" + urlencode(
            {"owner": owner, "expiry": expiry, "signature": signature}
        )

    async def find_signed(self, id: str, query: str) -> Upload:
        """Return the file of a signed URL.

        Raises `NotFound` for a signature that is not ours, or has expired.
        """
        parameters = {name: values[0] for name, values in parse_qs(query).items()}
        owner, expiry, signature = (parameters.get(name, "") for name in ("owner", "expiry", "signature"))
        if not expiry.isdecimal() or not expiry.isascii() or int(expiry[:15]) < datetime.now(UTC).timestamp():
            raise NotFound("File not found")
        if not self._capabilities.is_signed(_signed_text(owner, id, int(expiry)), signature):
            raise NotFound("File not found")
        return await self._find(id, None)

    async def resolve_key(self, account: int, path: str, query: str) -> str:
        """Return the key of a file by the path of its URL, for those who may read it.

        Raises `NotFound`.
        """
        if path.startswith("/v1/outputs/"):
            key = "out/" + path.removeprefix("/v1/outputs/")
            await self._files.stat(key)
            return key
        id, _, action = path.removeprefix("/v1/files/").partition("/")
        upload = await (self.find_signed(id, query) if action == "download" else self._find(id, account))
        return keys.upload(upload.id, upload.name)

    async def _find(self, id: str, account: int | None) -> Upload:
        upload = await self._uploads.get(id, account)
        if upload is None:
            raise NotFound("File not found")
        return upload

    async def _read_form(self, form: UploadForm, media_type: str, body: AsyncGenerator[bytes]) -> None:
        reader = _FormReader(form, self._limit)
        try:
            with PushMultipartParser(_boundary(media_type), max_segment_count=100) as parser:
                async for piece in body:
                    for part in parser.parse(piece) if piece else ():
                        reader.feed(part)
        except MultipartError as error:
            raise BadRequest(f"The body is not multipart/form-data, as its header says: {error}") from error


class _FormReader:
    """Puts what the multipart parser yields into a form: the head of each part, its content, and None at its end."""

    def __init__(self, form: UploadForm, limit: int) -> None:
        self._form = form
        self._limit = limit
        self._segment: MultipartSegment | None = None
        self._text = bytearray()
        self._field_bytes = 0

    def feed(self, part: MultipartSegment | bytes | None) -> None:
        """Take the next item of the parser. Raises `BodyTooLarge`."""
        if isinstance(part, MultipartSegment):
            self._segment, self._text = part, bytearray()
        elif part is None:
            self._end_segment()
        elif self._segment is not None and self._segment.name == "content":
            self._add_content(part)
        else:
            self._add_text(part)

    def _add_content(self, piece: bytes) -> None:
        self._form.size += len(piece)
        if self._form.size > self._limit:
            raise BodyTooLarge(too_large_message(self._limit))
        self._form.content.write(piece)

    def _add_text(self, piece: bytes) -> None:
        self._field_bytes += len(piece)
        if self._field_bytes > MAX_FIELD_BYTES:
            raise BodyTooLarge(f"The parts other than content may be {MAX_FIELD_BYTES:,} bytes in all.")
        self._text += piece

    def _end_segment(self) -> None:
        form, segment = self._form, self._segment
        if segment is None:
            return
        if segment.name == "content":
            form.has_content, form.filename, form.type = True, segment.filename, segment.content_type
        else:
            form.fields = {**form.fields, segment.name or "": self._text.decode(errors="replace")}


def _boundary(media_type: str) -> str:
    """Return the boundary of a multipart body. Raises `UnsupportedMedia` for any other body."""
    header = Message()
    header["Content-Type"] = media_type
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise UnsupportedMedia("Send the file as multipart/form-data, in a part called content.")
    return boundary


def _parse_metadata(fields: dict[str, str]) -> Raw:
    """Read metadata from one field of JSON, or from fields such as `metadata[size][width]`.

    Raises `Unprocessable`.
    """
    metadata: dict[str, Any] = {}
    if "metadata" in fields:
        try:
            metadata = json.decode(fields["metadata"].strip() or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise Unprocessable(f"metadata: send a JSON object. {error}") from error
    for name, value in fields.items():
        if match := METADATA_FIELD.fullmatch(name):
            _set_nested(metadata, name, match[1][1:-1].split("]["), value)
    # Typed clients expect a map of strings.
    strings = {
        name: value if isinstance(value, str) else json.encode(value).decode() for name, value in metadata.items()
    }
    text = json.encode(strings)
    if b"\\u0000" in text:
        raise Unprocessable("metadata: NUL characters are not allowed.")
    return Raw(text)


def _set_nested(metadata: dict[str, Any], field: str, path: list[str], value: str) -> None:
    for step in path[:-1]:
        metadata = metadata.setdefault(step, {})
        if type(metadata) is not dict:
            raise Unprocessable(f"{field}: another field of the metadata says that this is not an object.")
    metadata[path[-1]] = value


def _file_name(path: str) -> str:
    """Return the last part of a path, cut to the bytes that a file name may have."""
    name = path.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    return name.encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore") or "file"


def _digests(content: IO[bytes]) -> tuple[str, str]:
    content.seek(0)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    while piece := content.read(PIECE_BYTES):
        sha256.update(piece)
        md5.update(piece)
    return sha256.hexdigest(), md5.hexdigest()


async def _pieces(content: IO[bytes]) -> AsyncGenerator[bytes]:
    content.seek(0)
    while piece := content.read(PIECE_BYTES):
        yield piece


def _signed_text(owner: str, id: str, expiry: int) -> str:
    return f"{owner} {id} {expiry}"


def too_large_message(limit: int) -> str:
    """Return the error for a file over the limit, in the words that clients know where they know that limit."""
    whole, rest = divmod(limit, 1_000_000)
    return f"A file may be {limit:,} bytes." if rest else f"Files must be less than {whole}MB in size"


def content_disposition(name: str) -> str:
    """Return the header that gives a download its name."""
    return f"attachment; filename*=UTF-8''{quote(name)}"
