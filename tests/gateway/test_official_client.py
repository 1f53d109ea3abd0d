"""Replicate's own client for Python, against a gateway: what it does with models, examples, collections and search."""

import asyncio

import httpx
from replicate.client import Client

from tests.gateway.conftest import ECHO, TOKEN, FakeRunner
from tests.gateway.test_models import run_prediction


async def test_the_official_client_knows_models(client: httpx.AsyncClient, runner: FakeRunner, url: str):
    p = await run_prediction(client, runner)
    await client.post("/v1/models/acme/echo/examples", json={"prediction": p["id"]})
    await client.patch("/v1/models/acme/echo", json={"default_example": p["id"]})
    await client.post("/v1/collections", json={"name": "All", "description": "x", "models": ["acme/echo"]})

    def look() -> None:
        official = Client(TOKEN, base_url=url)
        made = official.models.create("samovar", "thing", visibility="private", hardware="cpu", description="A zebra")
        assert (made.owner, made.name, made.visibility) == ("samovar", "thing", "private")
        [found] = official.models.search("zebr")
        assert found.id == "samovar/thing"
        echo = official.models.get("acme/echo")
        assert echo.default_example is not None
        assert echo.default_example.output == "echo hi"
        assert [version.id for version in echo.versions.list()] == [ECHO.version]
        assert {model.name for model in official.models.list()} == {"echo", "lines", "keeper"}
        assert [each.slug for each in official.collections.list()] == ["all"]
        collection = official.collections.get("all")
        assert collection.models is not None
        assert [model.name for model in collection] == ["echo"]
        official._client.close()

    await asyncio.to_thread(look)


async def test_the_document_lists_every_operation(client: httpx.AsyncClient):
    paths = (await client.get("/openapi.json")).json()["paths"]
    told = {operation["operationId"]: operation for path in paths.values() for operation in path.values()}
    assert {f"models.{name}" for name in ("list", "create", "get", "update", "delete", "readme.get")} <= told.keys()
    assert {f"models.examples.{name}" for name in ("list", "create", "delete")} <= told.keys()
    assert {f"collections.{name}" for name in ("list", "create", "get", "update", "delete")} <= told.keys()
    body = told["models.create"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["owner", "name", "visibility", "hardware"]
    assert [each["name"] for each in told["search"]["parameters"]] == ["query", "limit"]
