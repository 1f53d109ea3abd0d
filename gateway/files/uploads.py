"""Files that clients upload: read as they come, kept for a time, found again by the URLs that stand for them."""

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
from gateway.files.store import Files
from gateway.ids import Capabilities
from gateway.store.uploads import Upload, Uploads
from schemas import keys

FIELD: Final = 100_000
"""Bytes of all parts that are not the file."""
NAME: Final = 255
IN_MEMORY: Final = 1_000_000
PIECE: Final = 256 * 1024
BRACKETS: Final = re.compile(r"metadata((?:\[[^\[\]]{1,100}\]){1,8})")


class Form(Struct, kw_only=True):
    """What a multipart body holds; clients write its parts in four ways."""

    content: IO[bytes]
    size: int = 0
    there: bool = False
    filename: str | None = None
    type: str | None = None
    fields: dict[str, str] = {}


class Uploading:
    def __init__(self, rows: Uploads, files: Files, capabilities: Capabilities, limit: int, kept: timedelta) -> None:
        self._rows = rows
        self._files = files
        self._capabilities = capabilities
        self._limit = limit
        self._kept = kept

    async def add(self, account: int, media_type: str, body: AsyncGenerator[bytes]) -> Upload:
        """Raises `UnsupportedMedia`, `BadRequest`, `BodyTooLarge` or `Unprocessable`."""
        with SpooledTemporaryFile(IN_MEMORY) as content:
            form = Form(content=content)
            await self._read(form, media_type, body)
            if not form.there:
                raise Unprocessable("content: send the file as a part of this name.")
            sha256, md5 = await asyncio.to_thread(_digests, content)
            now = datetime.now(UTC)
            upload = Upload(
                id=ids.draw_upload(),
                account=account,
                name=_name(form.fields.get("filename") or form.filename or "file"),
                content_type=(form.fields.get("type") or form.type or "application/octet-stream")[:NAME],
                size=form.size,
                sha256=sha256,
                md5=md5,
                metadata=_metadata(form.fields),
                created_at=now,
                expires_at=now + self._kept,
            )
            await self._files.receive(keys.upload(upload.id, upload.name), _pieces(content))
        await self._rows.add(upload)  # the bytes of one that is not noted here are waste, and found as such
        return upload

    async def remove(self, id: str, account: int) -> None:
        """Raises `NotFound`."""
        name = await self._rows.remove(id, account)
        if name is None:
            raise NotFound("File not found")
        await self._files.remove(keys.upload(id, name))

    def download(self, upload: Upload, owner: str) -> str:
        """The path and query of a URL that anybody may read it by until it expires."""
        expiry = int(upload.expires_at.timestamp())
        signature = self._capabilities.signature(_claim(owner, upload.id, expiry))
        return f"/v1/files/{upload.id}/download?" + urlencode(
            {"owner": owner, "expiry": expiry, "signature": signature}
        )

    async def signed(self, id: str, query: str) -> Upload:
        """Raises `NotFound` for a signature that is not ours, or has expired."""
        given = {name: values[0] for name, values in parse_qs(query).items()}
        owner, expiry, signature = (given.get(name, "") for name in ("owner", "expiry", "signature"))
        if not expiry.isdecimal() or not expiry.isascii() or int(expiry[:15]) < datetime.now(UTC).timestamp():
            raise NotFound("File not found")
        if not self._capabilities.signed(_claim(owner, id, int(expiry)), signature):
            raise NotFound("File not found")
        return await self._found(id, None)

    async def resolve(self, account: int, path: str, query: str) -> str:
        """The key of a file by the path of its URL, for those who may read it. Raises `NotFound`."""
        if path.startswith("/v1/outputs/"):
            key = "out/" + path.removeprefix("/v1/outputs/")
            await self._files.about(key)
            return key
        id, _, action = path.removeprefix("/v1/files/").partition("/")
        upload = await (self.signed(id, query) if action == "download" else self._found(id, account))
        return keys.upload(upload.id, upload.name)

    async def _found(self, id: str, account: int | None) -> Upload:
        upload = await self._rows.get(id, account)
        if upload is None:
            raise NotFound("File not found")
        return upload

    async def _read(self, form: Form, media_type: str, body: AsyncGenerator[bytes]) -> None:
        header = Message()
        header["Content-Type"] = media_type
        boundary = header.get_boundary()
        if header.get_content_type() != "multipart/form-data" or not boundary:
            raise UnsupportedMedia("Send the file as multipart/form-data, in a part called content.")
        part: MultipartSegment | None = None
        text, others = bytearray(), 0
        try:
            with PushMultipartParser(boundary, max_segment_count=100) as parser:
                async for piece in body:
                    for said in parser.parse(piece) if piece else ():
                        if isinstance(said, MultipartSegment):
                            part, text = said, bytearray()
                        elif said is None:
                            _close(form, part, text)
                        elif part is not None and part.name == "content":
                            form.size += len(said)
                            if form.size > self._limit:
                                raise BodyTooLarge(too_large(self._limit))
                            form.content.write(said)
                        elif (others := others + len(said)) > FIELD:
                            raise BodyTooLarge(f"The parts other than content may be {FIELD:,} bytes in all.")
                        else:
                            text += said
        except MultipartError as error:
            raise BadRequest(f"The body is not multipart/form-data as its header says: {error}") from error


def _close(form: Form, part: MultipartSegment | None, text: bytearray) -> None:
    """The end of a part."""
    if part is None:
        return
    if part.name == "content":
        form.there, form.filename, form.type = True, part.filename, part.content_type
    else:
        form.fields = {**form.fields, part.name or "": text.decode(errors="replace")}


def _metadata(fields: dict[str, str]) -> Raw:
    """From one field of JSON, or from fields such as `metadata[size][width]`. Raises `Unprocessable`."""
    given: dict[str, Any] = {}
    if "metadata" in fields:
        try:
            given = json.decode(fields["metadata"].strip() or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise Unprocessable(f"metadata: give a JSON object. {error}") from error
    for name, value in fields.items():
        if found := BRACKETS.fullmatch(name):
            _set(given, name, found[1][1:-1].split("]["), value)
    # Clients that are typed read a map of texts.
    texts = {name: value if isinstance(value, str) else json.encode(value).decode() for name, value in given.items()}
    text = json.encode(texts)
    if b"\\u0000" in text:
        raise Unprocessable("metadata: NUL characters are not allowed.")
    return Raw(text)


def _set(metadata: dict[str, Any], field: str, path: list[str], value: str) -> None:
    for step in path[:-1]:
        metadata = metadata.setdefault(step, {})
        if type(metadata) is not dict:
            raise Unprocessable(f"{field}: another field of the metadata says that this is no object.")
    metadata[path[-1]] = value


def _name(given: str) -> str:
    """The last part of a path, as many bytes of it as a file name may have."""
    name = given.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    return name.encode(errors="replace")[:NAME].decode(errors="ignore") or "file"


def _digests(content: IO[bytes]) -> tuple[str, str]:
    content.seek(0)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    while piece := content.read(PIECE):
        sha256.update(piece)
        md5.update(piece)
    return sha256.hexdigest(), md5.hexdigest()


async def _pieces(content: IO[bytes]) -> AsyncGenerator[bytes]:
    content.seek(0)
    while piece := content.read(PIECE):
        yield piece


def _claim(owner: str, id: str, expiry: int) -> str:
    return f"{owner} {id} {expiry}"


def too_large(limit: int) -> str:
    """In the words that clients know, where the limit is one that they know."""
    whole, rest = divmod(limit, 1_000_000)
    return f"A file may be {limit:,} bytes." if rest else f"Files must be less than {whole}MB in size"


def disposition(name: str) -> str:
    """The header that gives a download its name."""
    return f"attachment; filename*=UTF-8''{quote(name)}"
