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
from schemas.inputs import FILE, SEALED, decode_secret
from tests.gateway.conftest import PRIVATE_KEY, Runner, now
from tests.gateway.test_predictions import until
from tests.gateway.test_uploads import upload

KEEPER = "/v1/models/acme/keeper/predictions"


async def begin(client: httpx.AsyncClient, input: dict[str, Any], to: str = KEEPER) -> dict:
    answer = await client.post(to, json={"input": input})
    assert answer.status_code == 201, answer.text
    return answer.json()


def opened(text: str) -> inputs.Secret:
    box = base64.b64decode(text.removeprefix(SEALED), validate=True)
    return decode_secret(SealedBox(PRIVATE_KEY).decrypt(box))


async def row(database_url: str, id: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval("SELECT input::text FROM predictions WHERE id = $1", id)
    finally:
        await connection.close()


async def test_secrets_are_sealed_for_runners_and_their_prediction(
    client: httpx.AsyncClient, runner: Runner, database_url: str
):
    begun = await begin(client, {"key": "hush", "keys": ["one", "two"], "text": "hi"})
    assert begun["input"] == {"key": "**********", "keys": ["**********", "**********"], "text": "hi"}
    job = await runner.job()
    sent = json.decode(bytes(job.input))
    assert [opened(each).value for each in (sent["key"], *sent["keys"])] == ["hush", "one", "two"]
    assert {opened(each).prediction for each in (sent["key"], *sent["keys"])} == {begun["id"]}
    assert sent["text"] == "hi"
    kept = await row(database_url, begun["id"])
    assert not any(secret in kept for secret in ("hush", '"one"', '"two"'))


@pytest.mark.parametrize("way", ["get", "list", "cancel", "wait"])
async def test_nobody_is_shown_a_secret(client: httpx.AsyncClient, runner: Runner, way: str):
    headers = {"Prefer": "wait=1"} if way == "wait" else {}
    answer = await client.post(KEEPER, json={"input": {"key": "hush"}}, headers=headers)
    begun = answer.json()
    shown = {
        "get": lambda: client.get(f"/v1/predictions/{begun['id']}"),
        "list": lambda: client.get("/v1/predictions"),
        "cancel": lambda: client.post(f"/v1/predictions/{begun['id']}/cancel"),
    }
    text = answer.text if way == "wait" else (await shown[way]()).text
    assert '"key":"**********"' in text
    assert "hush" not in text
    assert SEALED not in text


@pytest.mark.parametrize("way", ["run", "canceled"])
async def test_a_secret_is_wiped_at_the_end(client: httpx.AsyncClient, runner: Runner, database_url: str, way: str):
    text = f'he said "{SEALED}abc" \\'
    begun = await begin(client, {"text": text, "key": "hush", "keys": ["one"]})
    if way == "run":
        job = await runner.job()
        await runner.say(Failed(id=job.id, run=runner.run(), at=now(), error="no"))
        await until(client, begun["id"], "failed")
    else:
        await client.post(f"/v1/predictions/{begun['id']}/cancel")
    async with asyncio.timeout(10):
        while SEALED in (kept := json.decode(await row(database_url, begun["id"])))["key"]:
            pass
    assert kept == {"text": text, "key": "**********", "keys": ["**********"]}


async def test_without_a_key_secrets_are_refused(
    runner: Runner, client: httpx.AsyncClient, settings: Settings, start: Callable[..., Any]
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
        pytest.param({"text": FILE + "up/x"}, id="file"),
        pytest.param({"text": SEALED + "AAAA"}, id="secret"),
        pytest.param({"key": SEALED + "AAAA"}, id="a secret that is sealed already"),
        pytest.param({"images": [FILE + "up/x"]}, id="in a list"),
        pytest.param({"text": "hi", "more": {"deep": [{SEALED: 1}]}}, id="as a key"),
    ],
)
async def test_what_we_write_ourselves_clients_may_not(client: httpx.AsyncClient, runner: Runner, input: dict):
    answer = await client.post(KEEPER, json={"input": input})
    assert answer.status_code == 422
    assert "may not begin with" in answer.json()["detail"]


async def test_an_escape_hides_nothing(client: httpx.AsyncClient, runner: Runner):
    content = b'{"input": {"text": "\\u0073amovar-file:up/x"}}'
    answer = await client.post(KEEPER, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/v1/files/{}", "/files/{}", "/v1/v1/files/{}"])
async def test_an_upload_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: Runner, path: str):
    made = await upload(client)
    url = str(client.base_url).rstrip("/") + path.format(made["id"])
    begun = await begin(client, {"images": [url, "https://example.org/v1/files/x"]})
    sent = json.decode(bytes((await runner.job()).input))
    assert sent["images"] == [FILE + keys.upload(made["id"], made["name"]), "https://example.org/v1/files/x"]
    assert begun["input"]["images"] == [made["urls"]["get"], "https://example.org/v1/files/x"]
    assert (await client.get(begun["urls"]["get"])).json()["input"] == begun["input"]


async def test_a_signed_url_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: Runner):
    made = await upload(client)
    await begin(client, {"images": [made["urls"]["download"]]})
    assert json.decode(bytes((await runner.job()).input))["images"] == [FILE + keys.upload(made["id"], made["name"])]


async def test_an_output_reaches_the_runner_as_a_key(client: httpx.AsyncClient, runner: Runner, tmp_path):
    place = tmp_path / "files" / "out" / "p" / "x" / 'a "b" ü.png'
    place.parent.mkdir(parents=True)
    place.write_bytes(b"png")
    url = str(client.base_url).rstrip("/") + "/v1/outputs/p/x/a%20%22b%22%20%C3%BC.png"
    begun = await begin(client, {"text": "hi", "image": url}, "/v1/models/acme/echo/predictions")
    assert json.decode(bytes((await runner.job()).input))["image"] == FILE + 'out/p/x/a "b" ü.png'
    assert begun["input"]["image"] == url


@pytest.mark.parametrize("path", ["/v1/files/none", "/v1/outputs/none/x/y", "/v1/outputs/%2e%2e/secret"])
async def test_one_of_our_files_that_is_not_there_is_named(client: httpx.AsyncClient, runner: Runner, path: str):
    url = str(client.base_url).rstrip("/") + path
    answer = await client.post(KEEPER, json={"input": {"images": [url]}})
    assert answer.status_code == 422
    assert [field["field"] for field in answer.json()["invalid_fields"]] == ["input.images"]


async def test_somebody_elses_upload_is_not_there(client: httpx.AsyncClient, runner: Runner, database_url: str):
    made = await upload(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('rival', 'rival')")
    await connection.execute("UPDATE files SET account = (SELECT id FROM accounts WHERE username = 'rival')")
    await connection.close()
    answer = await client.post(KEEPER, json={"input": {"images": [made["urls"]["get"]]}})
    assert answer.status_code == 422


async def test_the_public_url_leads_here_too(
    client: httpx.AsyncClient, runner: Runner, settings: Settings, start: Callable[..., Any]
):
    other = await start(structs.replace(settings, public_url="https://samovar.example/base"))
    made = await upload(client)
    begun = await begin(client, {"images": [f"https://SAMOVAR.example/base/v1/files/{made['id']}"]}, other + KEEPER)
    assert json.decode(bytes((await runner.job()).input))["images"] == [FILE + keys.upload(made["id"], made["name"])]
    assert begun["input"]["images"] == [f"https://samovar.example/base/v1/files/{made['id']}"]


async def test_a_field_that_is_no_file_keeps_its_url(client: httpx.AsyncClient, runner: Runner):
    made = await upload(client)
    await begin(client, {"text": made["urls"]["get"]})
    assert json.decode(bytes((await runner.job()).input)) == {"text": made["urls"]["get"]}


async def test_a_large_data_url_passes(runner: Runner, client: httpx.AsyncClient, settings: Settings, start):
    other = await start(structs.replace(settings, max_body=20_000_000))
    image = "data:image/png;base64," + "A" * 15_000_000
    answer = await client.post(other + KEEPER, json={"input": {"images": [image], "key": "hush"}})
    assert answer.status_code == 201
    assert answer.json()["input"] == {"images": [image], "key": "**********"}
