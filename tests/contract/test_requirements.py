"""What breaks clients that are not here to say so: one test for each row of the matrix of hard requirements."""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.stack import Stack
from tests import sse
from tests.live import Api

HELLO = "samovar/hello-world"
STATUSES = {"starting", "processing", "succeeded", "failed", "canceled"}
STAINLESS_RETRIES = {408, 409, 429}  # and 500 and above: replicate-python 2.0.0b4 sends such requests again
TIME_FIELDS = {"created_at", "started_at", "completed_at", "expires_at", "deadline"}
URIS = {
    "url",
    "get",
    "cancel",
    "web",
    "stream",
    "cover_image_url",
    "github_url",
    "paper_url",
    "license_url",
    "download",
}


async def test_version_cog_version_string_openapi_schema_object(api: Api) -> None:
    for version in await results(api, f"/v1/models/{HELLO}/versions"):
        assert isinstance(version["cog_version"], str)
        assert isinstance(version["openapi_schema"], dict)


async def test_file_name_file_etag_present(api: Api) -> None:
    file = await upload(api)
    for resource in (file, await read(api, f"/v1/files/{file['id']}")):
        assert resource["name"] == "note.txt"
        assert re.fullmatch("[0-9a-f]{32}", resource["etag"])


async def test_account_name_present(api: Api) -> None:
    assert (await read(api, "/v1/account"))["name"]


async def test_model_url_owner_name_visibility_run_count(api: Api) -> None:
    for model in [await read(api, f"/v1/models/{HELLO}"), *await results(api, "/v1/models")]:
        assert urlsplit(model["url"]).scheme in {"http", "https"}
        assert isinstance(model["owner"], str)
        assert isinstance(model["name"], str)
        assert model["visibility"] in {"public", "private"}
        assert isinstance(model["run_count"], int)


async def test_default_example_null_or_with_id_model_version_status(api: Api) -> None:
    async with create_model(api) as path:
        assert (await read(api, path))["default_example"] is None
    p = await api.run("hello-world", {"text": "an example"})
    saved = await api.http.post(f"/v1/models/{HELLO}/examples", json={"prediction": p["id"]})
    assert saved.status_code in {200, 201}, saved.text
    answer = await api.http.patch(f"/v1/models/{HELLO}", json={"default_example": p["id"]})
    assert answer.status_code == 200, answer.text
    example = (await read(api, f"/v1/models/{HELLO}"))["default_example"]
    assert {name: example[name] for name in ("id", "model", "version", "status")} == {
        "id": p["id"],
        "model": HELLO,
        "version": p["version"],
        "status": "succeeded",
    }
    await api.http.patch(f"/v1/models/{HELLO}", json={"default_example": None})
    assert (await api.http.delete(f"/v1/models/{HELLO}/examples/{p['id']}")).status_code == 204


async def test_prediction_fields_five_statuses_error_text_urls_strings(api: Api) -> None:
    created = [
        await api.create("hello-world", {"text": "Ann"}),
        await api.run("hello-world", {"text": "Ann"}),
        await api.run("speaker", {"fail": True}),
        await api.wait_until_final((await api.cancel((await api.create("count", {"n": 1, "delay": 60}))["id"]))["id"]),
    ]
    for p in [*created, *await results(api, "/v1/predictions")]:
        assert all(isinstance(p[name], str) for name in ("id", "model", "version"))
        assert p["status"] in STATUSES
        assert p["error"] is None or isinstance(p["error"], str)
        assert all(isinstance(url, str) for url in p["urls"].values())


async def test_deployment_current_release_complete(api: Api) -> None:
    async with create_deployment(api) as path:
        for deployment in [await read(api, path), *await results(api, "/v1/deployments")]:
            release = deployment["current_release"]
            assert isinstance(release["number"], int)
            assert all(isinstance(release[name], str) for name in ("model", "version", "created_at"))
            configuration = release["configuration"]
            assert isinstance(configuration["hardware"], str)
            assert all(isinstance(configuration[name], int) for name in ("min_instances", "max_instances"))


async def test_collection_description_non_null(api: Api) -> None:
    slug = f"made-{token_hex(4)}"
    bare = {"name": "Bare", "slug": slug, "models": []}
    refused = await api.http.post("/v1/collections", json=bare)
    created = await api.http.post("/v1/collections", json=bare | {"description": "Nothing yet"})
    assert created.status_code == 201, created.text
    listed = await results(api, "/v1/collections")
    assert refused.status_code == 422 or refused.json()["description"] is not None
    assert all(isinstance(each["description"], str) for each in [created.json(), *listed])
    await api.http.delete(f"/v1/collections/{slug}")


async def test_uris_really_uris_date_times_parseable(api: Api) -> None:
    await api.run("hello-world", {"text": "Ann"})
    async with create_deployment(api) as path:
        seen = [await read(api, path)]
        for listed in ("/v1/models", "/v1/predictions", "/v1/files", f"/v1/models/{HELLO}/versions", "/v1/trainings"):
            seen += await results(api, listed)
    fields = [field for each in seen for field in walk(each)]
    assert {"created_at", "url", "get"} <= {name for name, _ in fields}
    for name, value in fields:
        if name in TIME_FIELDS:
            assert datetime.fromisoformat(value).tzinfo is not None
        elif name in URIS and value is not None:
            assert urlsplit(value).scheme in {"http", "https"}
            assert urlsplit(value).netloc


async def test_absolute_next(api: Api, stack: Stack) -> None:
    created = [await api.create("hello-world", {"text": str(number)}) for number in range(101)]
    first = await read(api, "/v1/predictions")
    assert first["next"].startswith(f"{stack.url}/v1/predictions?")
    assert first["previous"] is None
    second = await read(api, first["next"])
    assert second["previous"].startswith(f"{stack.url}/v1/predictions?")
    assert {each["id"] for each in created} <= {each["id"] for page in (first, second) for each in page["results"]}


async def test_no_202_without_prefer(api: Api) -> None:
    for model, input in (("hello-world", {"text": "Ann"}), ("count", {"n": 1, "delay": 0})):
        assert (await api.post(model, input)).status_code == 201


async def test_200_for_post_deployments_accepted(api: Api) -> None:
    async with create_deployment(api) as path:
        assert path.startswith("/v1/deployments/samovar/")


async def test_sse_ids_on_each_event_no_logs_normalised_newlines(api: Api) -> None:
    p = await api.create("parts", {"parts": '["a\\r\\nb", "c\\rd", "e\\n"]'})
    raw = await raw_stream(api, p["urls"]["stream"])
    events = [event async for event in sse.parse_events(chunks(raw))]
    assert [event.data for event in events if event.event == "output"] == ["a\nb", "c\nd", "e\n"]
    assert all(event.id for event in events)
    assert {event.event for event in events} == {"output", "done"}
    assert b"\r" not in raw


async def test_stream_url_without_auth_text_stream_path_not_under_v1_files(api: Api) -> None:
    p = await api.create("parts", {"parts": '["a"]'})
    assert not urlsplit(p["urls"]["stream"]).path.startswith("/v1/files/")
    async with httpx.AsyncClient() as anyone:
        answer = await anyone.get(p["urls"]["stream"], follow_redirects=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_https_output_urls(api: Api) -> None:
    """Use https behind a TLS proxy, and plain http where the client itself used it."""
    secure = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "r.example.net", "Prefer": "wait"}
    p = await api.create("painter", {"text": "Ann"}, **secure)
    output = p["output"] if isinstance(p["output"], str) else p["output"][0]
    assert output.startswith("https://r.example.net/")


async def test_sync_reply_within_60_s_starting_on_expiry(api: Api) -> None:
    async with asyncio.timeout(10):
        answer = await api.post("count", {"n": 2, "delay": 2}, Prefer="wait=1")
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (202, "starting", None)
    await api.cancel(answer.json()["id"])


async def test_webhook_secret_standard_base64_one_underscore(api: Api) -> None:
    key = (await read(api, "/v1/webhooks/default/secret"))["key"]
    prefix, secret = key.split("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(secret, validate=True)) >= 24


async def test_409_never_for_final_errors(api: Api) -> None:
    """A request for something that exists, is gone, or has ended does not improve when it is repeated."""
    async with create_deployment(api) as path, create_model(api) as model:
        name = path.rpartition("/")[2]
        version = (await read(api, f"/v1/models/{HELLO}"))["latest_version"]["id"]
        again = {"owner": "samovar", "name": model.rpartition("/")[2], "visibility": "public", "hardware": "cpu"}
        configuration = {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
        twice = {"name": name, "model": HELLO, "version": version, **configuration}
        ended = await api.run("hello-world", {"text": "Ann"})
        answers = [
            await api.http.post("/v1/models", json=again),
            await api.http.post("/v1/deployments", json=twice),
            await api.http.post("/v1/deployments", json=twice | {"min_instances": 9}),
            await api.http.delete(f"/v1/models/{HELLO}"),
            await api.http.delete(f"/v1/models/{HELLO}/versions/{version}"),
            await api.http.delete("/v1/files/nothing"),
            await api.http.post("/v1/predictions/nothing/cancel"),
            await api.http.post(f"/v1/predictions/{ended['id']}/cancel"),
            await api.post("hello-world", {}),
        ]
    statuses = [answer.status_code for answer in answers]
    assert [status for status in statuses if status in STAINLESS_RETRIES or status >= 500] == []
    assert statuses == [422, 422, 422, 422, 422, 404, 404, 200, 422]


async def test_file_metadata_values_strings(api: Api) -> None:
    file = await upload(api, '{"ticket": 7, "name": "Ann", "size": {"width": 1}}')
    assert file["metadata"] == {"ticket": "7", "name": "Ann", "size": '{"width":1}'}


async def read(api: Api, path: str) -> Any:
    answer = await api.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def results(api: Api, path: str) -> list[Any]:
    return (await read(api, path))["results"]


async def upload(api: Api, metadata: str = "{}") -> Any:
    parts = {"content": ("note.txt", b"a note", "text/plain"), "metadata": (None, metadata)}
    answer = await api.http.post("/v1/files", files=parts)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def raw_stream(api: Api, url: str) -> bytes:
    async with httpx.AsyncClient(timeout=30) as anyone:
        return (await anyone.get(url)).content


async def chunks(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


@asynccontextmanager
async def create_model(api: Api) -> AsyncGenerator[str]:
    name = f"made-{token_hex(4)}"
    body = {"owner": "samovar", "name": name, "visibility": "private", "hardware": "cpu"}
    created = await api.http.post("/v1/models", json=body)
    assert created.status_code == 201, created.text
    yield f"/v1/models/samovar/{name}"
    assert (await api.http.delete(f"/v1/models/samovar/{name}")).status_code == 204


@asynccontextmanager
async def create_deployment(api: Api) -> AsyncGenerator[str]:
    name = f"made-{token_hex(4)}"
    version = (await read(api, f"/v1/models/{HELLO}"))["latest_version"]["id"]
    configuration = {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
    created = await api.http.post(
        "/v1/deployments", json={"name": name, "model": HELLO, "version": version, **configuration}
    )
    assert created.status_code == 200, created.text
    yield f"/v1/deployments/samovar/{name}"
    assert (await api.http.delete(f"/v1/deployments/samovar/{name}")).status_code == 204


def walk(value: Any) -> list[tuple[str, Any]]:
    """Return every named value at any depth, except inputs and outputs of models."""
    if isinstance(value, list):
        return [field for each in value for field in walk(each)]
    if not isinstance(value, dict):
        return []
    fields = {
        name: each for name, each in value.items() if name not in {"input", "output", "openapi_schema", "metadata"}
    }
    return [*fields.items(), *(field for each in fields.values() for field in walk(each))]
