from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.gateway.conftest import FakeRunner
from tests.gateway.other_accounts import open_client
from tests.gateway.test_models import NEW

MADE = {"name": "Text to Speech", "description": "They speak", "models": ["acme/lines", "acme/echo"]}
AT = "/v1/collections/text-to-speech"


@pytest.fixture
async def eve(url: str, database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_client(url, database_url, "eve") as client:
        yield client


async def models(client: httpx.AsyncClient, path: str = AT) -> list[str]:
    return [model["name"] for model in (await client.get(path)).json()["models"]]


async def test_a_collection_shows_its_models_in_order(
    client: httpx.AsyncClient, runner: FakeRunner, eve: httpx.AsyncClient
):
    answer = await client.post("/v1/collections", json={**MADE, "full_description": "# Hi"})
    assert answer.status_code == 201, answer.text
    found = (await eve.get(AT)).json()
    assert found == answer.json()
    item = {"name": "Text to Speech", "slug": "text-to-speech", "description": "They speak"}
    assert found == {**item, "full_description": "# Hi", "models": found["models"]}
    assert found["models"] == [(await eve.get(f"/v1/models/acme/{name}")).json() for name in ("lines", "echo")]
    await client.post("/v1/collections", json={"name": "All", "slug": "every", "description": ""})
    listed = (await eve.get("/collections")).json()
    assert listed == {
        "next": None,
        "previous": None,
        "results": [{"name": "All", "slug": "every", "description": ""}, item],
    }


async def test_a_collection_shows_only_models_that_the_caller_may_see(
    client: httpx.AsyncClient, runner: FakeRunner, eve: httpx.AsyncClient
):
    await client.post("/v1/models", json=NEW)
    await client.post("/v1/collections", json={**MADE, "models": ["bob/thing", "acme/echo"]})
    assert (await models(eve), await models(client)) == (["echo"], ["thing", "echo"])


async def test_a_change_leaves_other_fields_as_they_are(client: httpx.AsyncClient, runner: FakeRunner):
    await client.post("/v1/collections", json=MADE)
    changed = await client.patch(AT, json={"full_description": "More"})
    assert (changed.status_code, changed.json()["full_description"]) == (200, "More")
    assert await models(client) == ["lines", "echo"]
    await client.patch(AT, json={"models": ["acme/keeper", "acme/lines", "acme/keeper"]})
    assert await models(client) == ["keeper", "lines"]
    renamed = await client.patch(AT, json={"slug": "voices", "name": "Voices", "models": ["acme/echo"]})
    assert renamed.json()["slug"] == "voices"
    assert (await client.get(AT)).status_code == 404
    assert await models(client, "/v1/collections/voices") == ["echo"]
    assert (await client.delete("/v1/collections/voices")).status_code == 204
    assert (await client.get("/v1/models/acme/echo")).status_code == 200


async def test_only_admins_change_collections(client: httpx.AsyncClient, eve: httpx.AsyncClient, runner: FakeRunner):
    await client.post("/v1/collections", json=MADE)
    assert (await eve.post("/v1/collections", json=MADE)).status_code == 403
    assert (await eve.patch(AT, json={"name": "Mine"})).status_code == 403
    assert (await eve.delete(AT)).status_code == 403


async def test_a_missing_collection_cannot_be_changed(client: httpx.AsyncClient):
    for method in ("GET", "PATCH", "DELETE"):
        answer = await client.request(method, "/v1/collections/none", json={} if method == "PATCH" else None)
        assert answer.status_code == 404


BAD = [
    ({"name": " "}, "name"),
    ({"name": "???"}, "slug"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"slug": "Not A Slug"}, "slug"),
    ({"slug": "-a"}, "slug"),
    ({"slug": "other"}, "slug"),
    ({"description": "\0"}, "description"),
    ({"description": None}, "description"),
    ({"full_description": "x" * 100_001}, "full_description"),
    ({"models": ["acme/echo", "acme/none"]}, "acme/none"),
    ({"models": ["\0"]}, "models"),
    ({"models": [7]}, "models"),
    ({"models": ["a/b"] * 1_001}, "models"),
]


async def test_a_refusal_names_the_field_and_changes_nothing(client: httpx.AsyncClient, runner: FakeRunner):
    before = (await client.post("/v1/collections", json=MADE)).json()
    await client.post("/v1/collections", json={"name": "Other", "description": "x"})
    for body, named in BAD:
        if body != {"name": "???"}:  # a change leaves the slug as it is
            changed = await client.patch(AT, json={"description": "changed", **body})
            assert (changed.status_code, named in changed.json()["detail"]) == (422, True), (body, changed.text)
        made = await client.post("/v1/collections", json={"name": "New", "description": "x", **body})
        assert (made.status_code, named in made.json()["detail"]) == (422, True), (body, made.text)
    assert (await client.get(AT)).json() == before
    assert len((await client.get("/v1/collections")).json()["results"]) == 2


async def test_a_model_that_is_deleted_leaves_its_collections(client: httpx.AsyncClient, runner: FakeRunner):
    await client.post("/v1/models", json={**NEW, "visibility": "public"})
    await client.post("/v1/collections", json={**MADE, "models": ["acme/echo", "bob/thing"]})
    assert await models(client) == ["echo", "thing"]
    assert (await client.delete("/v1/models/bob/thing")).status_code == 204
    assert await models(client) == ["echo"]
