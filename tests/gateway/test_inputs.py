import asyncio
import base64
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json, structs
from nacl.public import SealedBox

from gateway.settings import Settings
from schemas import inputs, keys
from schemas.events import Failed
from schemas.inputs import FILE_PREFIX, SEALED_PREFIX, decode_secret
from tests.gateway.conftest import PRIVATE_KEY, FakeRunner, now
from tests.gateway.test_predictions import until
from tests.gateway.test_uploads import upload

KEEPER = "/v1/models/acme/keeper/predictions"


async def begin(client: httpx.AsyncClient, input: dict[str, Any], to: str = KEEPER) -> dict:
    answer = await client.post(to, json={"input": input})
    assert answer.status_code == 201, answer.text
    return answer.json()


def unseal(text: str) -> inputs.Secret:
    box = base64.b64decode(text.removeprefix(SEALED_PREFIX), validate=True)
    return decode_secret(SealedBox(PRIVATE_KEY).decrypt(box))


async def row(database_url: str, id: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval("SELECT input::text FROM predictions WHERE id = $1", id)
    finally:
        await connection.close()


async def test_secrets_are_sealed_for_runners_and_their_prediction(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    created = await begin(client, {"key": "hush", "keys": ["one", "two"], "text": "hi"})
    assert created["input"] == {"key": "**********", "keys": ["**********", "**********"], "text": "hi"}
    job = await runner.next_job()
    sent = json.decode(bytes(job.input))
    assert [unseal(each).value for each in (sent["key"], *sent["keys"])] == ["hush", "one", "two"]
    assert {unseal(each).prediction for each in (sent["key"], *sent["keys"])} == {created["id"]}
    assert sent["text"] == "hi"
    recorded = await row(database_url, created["id"])
    assert not any(secret in recorded for secret in ("hush", '"one"', '"two"'))


@pytest.mark.parametrize("way", ["get", "list", "cancel", "wait"])
async def test_no_answer_shows_a_secret(client: httpx.AsyncClient, runner: FakeRunner, way: str):
    headers = {"Prefer": "wait=1"} if way == "wait" else {}
    answer = await client.post(KEEPER, json={"input": {"key": "hush"}}, headers=headers)
    created = answer.json()
    reads = {
        "get": lambda: client.get(f"/v1/predictions/{created['id']}"),
        "list": lambda: client.get("/v1/predictions"),
        "cancel": lambda: client.post(f"/v1/predictions/{created['id']}/cancel"),
    }
    text = answer.text if way == "wait" else (await reads[way]()).text
    assert '"key":"**********"' in text
    assert "hush" not in text
    assert SEALED_PREFIX not in text


@pytest.mark.parametrize("way", ["run", "canceled"])
async def test_a_secret_is_removed_from_the_row_at_the_end(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str, way: str
):
    text = f'he said "{SEALED_PREFIX}abc" \\'
    created = await begin(client, {"text": text, "key": "hush", "keys": ["one"]})
    if way == "run":
        job = await runner.next_job()
        await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), error="no"))
        await until(client, created["id"], "failed")
    else:
        await client.post(f"/v1/predictions/{created['id']}/cancel")
    async with asyncio.timeout(10):
        while SEALED_PREFIX in (recorded := json.decode(await row(database_url, created["id"])))["key"]:
            pass
    assert recorded == {"text": text, "key": "**********", "keys": ["**********"]}


async def test_without_a_key_secrets_are_refused(
    runner: FakeRunner, client: httpx.AsyncClient, settings: Settings, start: Callable[..., Any]
):
    other = await start(structs.replace(settings, secrets_public_key=None))
    answer = await client.post(other + KEEPER, json={"input": {"key": "hush"}})
    assert answer.status_code == 422
    assert "input.key" in answer.json()["detail"]
    assert "SAMOVAR_SECRETS_PUBLIC_KEY" in answer.json()["detail"]
    assert (await client.post(other + KEEPER, json={"input": {"text": "hi"}})).status_code == 201


@pytest.mark.parametrize(
    "input",
    [
        pytest.param({"text": FILE_PREFIX + "up/x"}, id="file"),
        pytest.param({"text": SEALED_PREFIX + "AAAA"}, id="secret"),
        pytest.param({"key": SEALED_PREFIX + "AAAA"}, id="a secret that is sealed already"),
        pytest.param({"images": [FILE_PREFIX + "up/x"]}, id="in a list"),
        pytest.param({"text": "hi", "more": {"deep": [{SEALED_PREFIX: 1}]}}, id="as a key"),
    ],
)
async def test_clients_may_not_write_our_markers(client: httpx.AsyncClient, runner: FakeRunner, input: dict):
    answer = await client.post(KEEPER, json={"input": input})
    assert answer.status_code == 422
    assert "may not begin with" in answer.json()["detail"]


async def test_an_escape_hides_nothing(client: httpx.AsyncClient, runner: FakeRunner):
    content = b'{"input": {"text": "\\u0073amovar-file:up/x"}}'
    answer = await client.post(KEEPER, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/v1/files/{}", "/files/{}", "/v1/v1/files/{}"])
async def test_an_upload_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: FakeRunner, path: str):
    uploaded = await upload(client)
    url = str(client.base_url).rstrip("/") + path.format(uploaded["id"])
    created = await begin(client, {"images": [url, "https://example.org/v1/files/x"]})
    sent = json.decode(bytes((await runner.next_job()).input))
    assert sent["images"] == [
        FILE_PREFIX + keys.upload(uploaded["id"], uploaded["name"]),
        "https://example.org/v1/files/x",
    ]
    assert created["input"]["images"] == [uploaded["urls"]["get"], "https://example.org/v1/files/x"]
    assert (await client.get(created["urls"]["get"])).json()["input"] == created["input"]


async def test_a_signed_url_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: FakeRunner):
    uploaded = await upload(client)
    await begin(client, {"images": [uploaded["urls"]["download"]]})
    assert json.decode(bytes((await runner.next_job()).input))["images"] == [
        FILE_PREFIX + keys.upload(uploaded["id"], uploaded["name"])
    ]


async def test_an_output_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: FakeRunner, tmp_path):
    place = tmp_path / "files" / "out" / "p" / "x" / 'a "b" ü.png'
    place.parent.mkdir(parents=True)
    place.write_bytes(b"png")
    url = str(client.base_url).rstrip("/") + "/v1/outputs/p/x/a%20%22b%22%20%C3%BC.png"
    created = await begin(client, {"text": "hi", "image": url}, "/v1/models/acme/echo/predictions")
    assert json.decode(bytes((await runner.next_job()).input))["image"] == FILE_PREFIX + 'out/p/x/a "b" ü.png'
    assert created["input"]["image"] == url


@pytest.mark.parametrize("path", ["/v1/files/none", "/v1/outputs/none/x/y", "/v1/outputs/%2e%2e/secret"])
async def test_a_missing_file_of_ours_is_named(client: httpx.AsyncClient, runner: FakeRunner, path: str):
    url = str(client.base_url).rstrip("/") + path
    answer = await client.post(KEEPER, json={"input": {"images": [url]}})
    assert answer.status_code == 422
    assert [field["field"] for field in answer.json()["invalid_fields"]] == ["input.images"]


async def test_another_accounts_upload_counts_as_missing(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    uploaded = await upload(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('rival', 'rival')")
    await connection.execute("UPDATE files SET account = (SELECT id FROM accounts WHERE username = 'rival')")
    await connection.close()
    answer = await client.post(KEEPER, json={"input": {"images": [uploaded["urls"]["get"]]}})
    assert answer.status_code == 422


async def test_the_public_url_leads_here_too(
    client: httpx.AsyncClient, runner: FakeRunner, settings: Settings, start: Callable[..., Any]
):
    other = await start(structs.replace(settings, public_url="https://samovar.example/base"))
    uploaded = await upload(client)
    created = await begin(
        client, {"images": [f"https://SAMOVAR.example/base/v1/files/{uploaded['id']}"]}, other + KEEPER
    )
    assert json.decode(bytes((await runner.next_job()).input))["images"] == [
        FILE_PREFIX + keys.upload(uploaded["id"], uploaded["name"])
    ]
    assert created["input"]["images"] == [f"https://samovar.example/base/v1/files/{uploaded['id']}"]


async def test_a_field_that_is_no_file_keeps_its_url(client: httpx.AsyncClient, runner: FakeRunner):
    uploaded = await upload(client)
    await begin(client, {"text": uploaded["urls"]["get"]})
    assert json.decode(bytes((await runner.next_job()).input)) == {"text": uploaded["urls"]["get"]}


async def test_a_large_data_url_passes(runner: FakeRunner, client: httpx.AsyncClient, settings: Settings, start):
    other = await start(structs.replace(settings, max_body=20_000_000))
    image = "data:image/png;base64," + "A" * 15_000_000
    answer = await client.post(other + KEEPER, json={"input": {"images": [image], "key": "hush"}})
    assert answer.status_code == 201
    assert answer.json()["input"] == {"images": [image], "key": "**********"}
