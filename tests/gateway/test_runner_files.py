import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from msgspec import Raw, structs
from obstore.store import HTTPStore

from gateway.http.file_response import parse_range
from gateway.settings import Settings
from schemas import keys
from schemas.events import Succeeded
from schemas.models import decode_manifest
from tests.gateway.conftest import FILES_TOKEN, FakeRunner, now
from tests.gateway.test_pushes import archive, start_push


def open_store(url: str, token: str = FILES_TOKEN) -> HTTPStore:
    """As a runner on another host has it."""
    options: Any = {"allow_http": True, "default_headers": {"Authorization": f"Bearer {token}"}}
    return HTTPStore(f"{url}/-/files", client_options=options, retry_config={"max_retries": 0})


async def test_a_runner_without_the_store_reads_archives(client: httpx.AsyncClient, url: str):
    begun = await start_push(client, archive())
    files = open_store(url)
    found = await obstore.get_async(files, keys.manifest(begun["version"]))
    key = keys.archive(decode_manifest(bytes(await found.bytes_async())).pack)
    head = await obstore.head_async(files, key)
    assert head["size"] == len(archive())
    assert bytes(await (await obstore.get_async(files, key)).bytes_async()) == archive()
    assert bytes(await obstore.get_range_async(files, key, start=2, end=7)) == archive()[2:7]


async def test_a_runner_without_the_store_writes_outputs(client: httpx.AsyncClient, url: str, runner: FakeRunner):
    begun = (await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})).json()
    job = await runner.next_job()
    key, content = f"out/{job.id}/x/ü b#?.txt", b"tea " * 1_000_000
    await obstore.put_async(open_store(url), key, content[:400_000], use_multipart=False)
    await runner.publish(
        Succeeded(id=job.id, run=runner.next_run(), at=now(), values=[Raw(f'"file:{key}"'.encode())], files=[key])
    )
    async with asyncio.timeout(10):
        while not (output := (await client.get(begun["urls"]["get"])).json()["output"]):
            pass
    assert (await client.get(output)).content == content[:400_000]


async def test_an_empty_file_is_written_and_read(url: str):
    await obstore.put_async(open_store(url), "out/p/x/empty", b"", use_multipart=False)
    assert bytes(await (await obstore.get_async(open_store(url), "out/p/x/empty")).bytes_async()) == b""


@pytest.mark.parametrize("key", ["packs/x.tar", "versions/x.json", "in/x", "up/x"])
async def test_runners_write_outputs_only(url: str, tmp_path: Path, key: str):
    with pytest.raises(Exception, match="403"):
        await obstore.put_async(open_store(url), key, b"x", use_multipart=False)
    assert not (tmp_path / "files" / key).exists()


async def test_a_missing_file_is_not_found(url: str):
    with pytest.raises(FileNotFoundError):
        await obstore.get_async(open_store(url), "packs/none.tar")
    with pytest.raises(FileNotFoundError):
        await obstore.head_async(open_store(url), "packs/none.tar")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", f"Basic {FILES_TOKEN}", f"Bearer {FILES_TOKEN}x"])
async def test_only_runners_are_authorized(url: str, tmp_path: Path, method: str, token: str):
    headers = {"Authorization": token} if token else {}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as stranger:
        answer = await stranger.request(method, f"{url}/-/files/out/a/b/c", content=b"x" if method == "PUT" else None)
    assert answer.status_code == 401
    assert not (tmp_path / "files" / "out").exists()


async def test_a_client_token_does_not_open_the_store(client: httpx.AsyncClient):
    assert (await client.get("/-/files/packs/x.tar")).status_code == 401


@pytest.mark.parametrize("path", ["out/../packs/x", "out/%2e%2e/secret", "out/./x", "../x", "%2e%2e/x"])
async def test_no_path_leads_out_of_the_store(url: str, tmp_path: Path, path: str):
    (tmp_path / "secret").write_text("s")
    for method in ("GET", "PUT"):
        head = f"{method} /-/files/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FILES_TOKEN}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"{head}Content-Length: 1\r\nConnection: close\r\n\r\nx".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.split(b" ")[1] in {b"404", b"405"}, answer
    assert [path.name for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_without_a_files_token_there_is_no_store(settings: Settings, start: Callable[..., Any]):
    url = await start(structs.replace(settings, files_token=None))
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": "Bearer"}) as stranger:
        for method in ("GET", "HEAD", "PUT"):
            assert (await stranger.request(method, f"{url}/-/files/out/a")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-100", (8, 10)),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_ranges_are_parsed(asked: str | None, given: tuple[int, int] | None):
    assert parse_range(asked, 10) == given


async def test_a_range_beyond_the_end_is_a_416(client: httpx.AsyncClient, url: str):
    await obstore.put_async(open_store(url), "out/p/x/f", b"12345", use_multipart=False)
    headers = {"Authorization": f"Bearer {FILES_TOKEN}", "Range": "bytes=5-"}
    answer = await client.get("/-/files/out/p/x/f", headers=headers)
    assert answer.status_code == 416
