"""Files as answers: parts of them, their types, and what a client has already."""

from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cleanup.expired_uploads import ExpiredUploads
from gateway.files import media_types
from gateway.files.store import FileStore
from gateway.files.uploads import too_large_message
from gateway.http.file_response import matches_etag, quote_etag
from gateway.store import connection as pools
from gateway.store.predictions import PredictionStore
from gateway.store.uploads import UploadStore
from tests.gateway.conftest import FakeRunner
from tests.gateway.test_pushes import stored_files
from tests.gateway.test_uploads import MD5, upload

pytestmark = pytest.mark.slow


PNG = b"\x89PNG\r\n\x1a\n and so on"


def write_output(tmp_path: Path, name: str, content: bytes) -> str:
    """An output; its path."""
    file = tmp_path / "files" / "out" / "p" / "x" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return f"/v1/outputs/p/x/{name}"


async def test_a_response_follows_the_range_and_conditions_of_its_request(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    made = await upload(client)
    for url, content in ((write_output(tmp_path, "a.txt", b"meow"), b"meow"), (made["urls"]["download"], b"meow")):
        whole = await client.get(url)
        assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
        etag, modified = whole.headers["etag"], whole.headers["last-modified"]
        assert etag == quote_etag(etag)

        head = await client.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
        for name in ("etag", "content-type", "accept-ranges", "last-modified"):
            assert head.headers[name] == whole.headers[name], name

        for asked, part, place in (
            ("bytes=1-2", b"eo", "1-2"),
            ("bytes=-1", b"w", "3-3"),
            ("bytes=1-99", b"eow", "1-3"),
        ):
            found = await client.get(url, headers={"Range": asked})
            assert (found.status_code, found.content) == (206, part)
            assert (found.headers["content-range"], found.headers["content-length"]) == (
                f"bytes {place}/4",
                str(len(part)),
            )
        for asked in ("bytes=0-1,3-3", "bytes=2-1", "lines=1-2", "bytes=x"):
            assert (await client.get(url, headers={"Range": asked})).status_code == 200, asked
        beyond = await client.get(url, headers={"Range": "bytes=4-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */4")

        for same in (etag, modified):
            assert (await client.get(url, headers={"Range": "bytes=0-0", "If-Range": same})).status_code == 206
        assert (await client.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})).content == content

        for known in (etag, f'"x", W/{etag}', "*"):
            unchanged = await client.get(url, headers={"If-None-Match": known})
            assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
        assert (await client.get(url, headers={"If-None-Match": '"x"'})).status_code == 200

        elsewhere = await client.get(url, headers={"Origin": "https://elsewhere.example"})
        assert elsewhere.headers["access-control-allow-origin"] == "https://elsewhere.example"
        assert "Content-Range" in elsewhere.headers["access-control-expose-headers"]
    assert etag == f'"{MD5}"'


async def test_an_empty_file_is_sent(client: httpx.AsyncClient, tmp_path: Path) -> None:
    url = write_output(tmp_path, "nothing", b"")
    answer = await client.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    assert (await client.get(url, headers={"Range": "bytes=0-0"})).status_code == 416


async def test_an_output_has_the_media_type_of_its_name_or_its_first_bytes(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    for name, content, kind in (
        ("a.png", b"x", "image/png"),
        ("a.webp", b"x", "image/webp"),
        ("a.tar.gz", b"x", "application/gzip"),
        ("output", PNG, "image/png"),
        ("output2", "größer".encode(), "text/plain; charset=utf-8"),
        ("output3", b"\0\1", "application/octet-stream"),
    ):
        url = write_output(tmp_path, name, content)
        assert (await client.get(url)).headers["content-type"] == kind, name
        assert (await client.head(url)).status_code == 200


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"RIFF....WAVEfmt ", "audio/wav"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("ü".encode()[:1], "application/octet-stream"),
        (b"text " + "ü".encode()[:1], "text/plain"),
        (b"", "application/octet-stream"),
    ],
)
def test_first_bytes_determine_the_media_type(start: bytes, kind: str) -> None:
    assert media_types.guess_by_content(start) == kind


@given(st.binary(max_size=40))
def test_any_first_bytes_have_a_media_type(start: bytes) -> None:
    assert "/" in media_types.guess_by_content(start)


def test_etags_are_compared_as_http_defines() -> None:
    assert matches_etag('"a", W/"b"', '"b"')
    assert not matches_etag(None, '"b"')
    assert not matches_etag('"bc"', '"b"')


def test_a_size_limit_is_written_in_units_that_clients_know() -> None:
    assert too_large_message(100_000_000) == "Files must be less than 100MB in size"
    assert too_large_message(300_000) == "A file may be 300,000 bytes."


async def test_expired_uploads_are_deleted(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str, tmp_path: Path
) -> None:
    gone, used, kept = [await upload(client, name=f"{name}.png") for name in ("gone", "used", "kept")]
    asked = {"input": {"images": [used["urls"]["get"]]}}
    assert (await client.post("/v1/models/acme/keeper/predictions", json=asked)).status_code == 201
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE files SET expires_at = now() WHERE name <> 'kept.png'")
    await connection.close()
    async with pools.open_pool(database_url, 2) as pool:
        swept = ExpiredUploads(
            UploadStore(pool), PredictionStore(pool), FileStore(f"file://{tmp_path}/files"), grace=timedelta(0)
        )
        assert [await swept.sweep(), await swept.sweep()] == [1, 0]
    assert stored_files(tmp_path) == sorted(f"up/{each['id']}/{each['name']}" for each in (used, kept))
    assert gone["id"] not in str(stored_files(tmp_path))
