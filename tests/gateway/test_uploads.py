import asyncio
import hashlib
import io
from pathlib import Path

import asyncpg
import httpx
import pytest
from replicate.client import Client

from tests.gateway.conftest import TOKEN
from tests.gateway.test_pushes import stored_files

MD5, SHA256 = hashlib.md5(b"meow").hexdigest(), hashlib.sha256(b"meow").hexdigest()


async def upload(client: httpx.AsyncClient, content: bytes = b"meow", name: str = "cat.png") -> dict:
    answer = await client.post("/v1/files", files={"content": (name, content, "image/png")})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_upload_is_described(client: httpx.AsyncClient, tmp_path: Path):
    made = await upload(client)
    assert (made["name"], made["content_type"], made["size"], made["metadata"]) == ("cat.png", "image/png", 4, {})
    assert (made["etag"], made["checksums"]) == (MD5, {"sha256": SHA256, "md5": MD5})
    assert made["urls"]["get"] == f"{client.base_url}/v1/files/{made['id']}".replace("//v1", "/v1")
    assert len(made["id"]) == 48
    assert (await client.get(made["urls"]["get"])).json() == made
    assert stored_files(tmp_path) == [f"up/{made['id']}/{made['name']}"]


@pytest.mark.parametrize(
    ("parts", "name", "kind", "metadata"),
    [
        pytest.param(
            [("metadata", (None, b'{"k": 1}')), ("content", ("cat.png", b"meow", "image/png"))],
            "cat.png", "image/png", {"k": "1"}, id="python 1",
        ),
        pytest.param(
            [
                ("filename", (None, b"cat.png")),
                ("metadata[k]", (None, b"1")),
                ("metadata[n][z]", (None, b"2")),
                ("type", (None, b"image/png")),
                ("content", ("upload", b"meow", "application/octet-stream")),
            ],
            "cat.png", "image/png", {"k": "1", "n": '{"z":"2"}'}, id="python 2",
        ),
        pytest.param(
            [
                ("content", ("blob_1767603600000", b"meow", "image/png")),
                ("metadata", ("blob", b'{"k":1}', "application/json")),
            ],
            "blob_1767603600000", "image/png", {"k": "1"}, id="javascript",
        ),
        pytest.param(
            [("content", ("../../etc/x", b"meow", "text/plain"))], "x", "text/plain", {}, id="a path for a name"
        ),
    ],
)  # fmt: skip
async def test_uploads_of_every_client_are_read(
    client: httpx.AsyncClient, parts: list, name: str, kind: str, metadata: dict
):
    answer = await client.post("/v1/files", files=parts)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["content_type"], made["metadata"], made["size"]) == (name, kind, metadata, 4)


async def test_the_official_client_uploads_and_lists(url: str):
    official = Client(api_token=TOKEN, base_url=url)

    def use() -> None:
        made = official.files.create(io.BytesIO(b"meow"), metadata={"k": 1})
        assert official.files.get(made.id).checksums["sha256"] == SHA256
        assert [each.id for each in official.files.list()] == [made.id]
        official.files.delete(made.id)
        assert list(official.files.list()) == []

    await asyncio.to_thread(use)
    official._client.close()


async def test_a_signed_url_downloads_it_without_a_token(client: httpx.AsyncClient):
    made = await upload(client, b"meow", "kätzchen.png")
    async with httpx.AsyncClient(trust_env=False) as stranger:
        answer = await stranger.get(made["urls"]["download"])
        assert (answer.status_code, answer.content) == (200, b"meow")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''k%C3%A4tzchen.png"
        for wrong in ("signature=", "owner=somebody", "expiry=1", "expiry=99999999999"):
            name = wrong.partition("=")[0]
            query = [(k, v) for k, v in httpx.URL(made["urls"]["download"]).params.items() if k != name]
            url = httpx.URL(made["urls"]["download"]).copy_with(params=[*query, (name, wrong.partition("=")[2])])
            refused = await stranger.get(url)
            assert refused.status_code == 404, wrong


async def test_a_deleted_file_is_gone(client: httpx.AsyncClient, tmp_path: Path):
    made = await upload(client)
    answer = await client.delete(made["urls"]["get"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(made["urls"]["get"])).status_code == 404
    assert (await client.get(made["urls"]["download"])).status_code == 404
    assert (await client.delete(made["urls"]["get"])).status_code == 404
    assert stored_files(tmp_path) == []


async def test_an_expired_file_is_gone(client: httpx.AsyncClient, database_url: str):
    made = await upload(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE files SET expires_at = now()")
    await connection.close()
    assert (await client.get(made["urls"]["get"])).status_code == 404
    assert (await client.get("/v1/files")).json()["results"] == []


async def test_only_its_account_sees_a_file(client: httpx.AsyncClient, database_url: str):
    made = await upload(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('rival', 'rival')")
    await connection.execute("UPDATE files SET account = (SELECT id FROM accounts WHERE username = 'rival')")
    await connection.close()
    assert (await client.get(made["urls"]["get"])).status_code == 404
    assert (await client.delete(made["urls"]["get"])).status_code == 404


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        pytest.param({"files": {"content": b"x" * 300_001}}, 413, "300,000 bytes", id="large"),
        pytest.param({"files": {"other": b"x"}}, 422, "content", id="no content"),
        pytest.param({"files": {"content": b"x", "metadata": (None, b"[1]")}}, 422, "metadata", id="metadata"),
        pytest.param({"files": {"content": b"x", "more": (None, b"x" * 100_001)}}, 413, "other than", id="fields"),
        pytest.param({"json": {}}, 415, "multipart/form-data", id="json"),
        pytest.param(
            {"content": b"--x\r\nno", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400, "not multipart", id="broken off",
        ),
    ],
)  # fmt: skip
async def test_an_invalid_upload_is_refused(
    client: httpx.AsyncClient, tmp_path: Path, request_: dict, status: int, said: str
):
    answer = await client.post("/v1/files", **request_)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert stored_files(tmp_path) == []


async def test_a_file_may_be_larger_than_a_prediction(client: httpx.AsyncClient):
    assert (await upload(client, b"x" * 250_000))["size"] == 250_000


async def test_an_upload_that_is_far_too_large_is_refused(client: httpx.AsyncClient):
    for _ in range(3):
        answer = await client.post("/v1/files", files={"content": b"x" * 20_000_000})
        assert (answer.status_code, "300,000 bytes" in answer.json()["detail"]) == (413, True)
