import asyncio
import re
from datetime import datetime
from typing import Any

import httpx
import pytest
from msgspec import Raw

from gateway.metrics import STAGES
from gateway.urls import canonical_path
from schemas.events import Succeeded
from tests.gateway.conftest import TOKEN, FakeRunner, now

COUNT = re.compile(r'^samovar_stage_seconds_count\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/predictions", "/v1/predictions"),
        ("/predictions/x/cancel", "/v1/predictions/x/cancel"),
        ("/v1/v1/models/a/b", "/v1/models/a/b"),
        ("/healthz", "/healthz"),
        ("/", "/"),
        ("/acme/echo", "/acme/echo"),
        ("/v1/openapi.json", "/-/docs/openapi.json"),
    ],
)
def test_every_path_has_one_canonical_form(path: str, route: str):
    assert canonical_path(path) == route


@pytest.mark.parametrize("base", ["", "/v1", "/v1/v1"])
async def test_the_api_is_served_at_every_base_url(client: httpx.AsyncClient, base: str):
    assert (await client.get(f"{base}/account")).json() == {"type": "user", "username": "samovar", "name": "samovar"}


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [
        (None, "You did not pass an authentication token"),
        ("Bearer nonsense", "You did not pass a valid authentication token"),
        ("Basic dTpw", "You did not pass a valid authentication token"),
        ("Bearer", "You did not pass a valid authentication token"),
    ],
)
async def test_a_request_without_a_valid_token_is_refused(url: str, authorization: str | None, detail: str):
    headers = {"Authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as stranger:
        for path in ("/v1/account", "/v1/predictions", "/v1/models", "/v1/predictions/x"):
            answer = await stranger.get(url + path)
            assert (answer.status_code, answer.json()["detail"]) == (401, detail)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "TOKEN"])
async def test_both_authorization_schemes_are_accepted(url: str, scheme: str):
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"{scheme} {TOKEN}"}) as client:
        assert (await client.get(f"{url}/v1/account")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/acme/none", 404),
        ("GET", "/v1/models/acme/none/versions", 404),
        ("GET", "/v1/predictions/none", 404),
        ("POST", "/v1/predictions/none/cancel", 404),
        ("DELETE", "/v1/predictions", 405),
        ("GET", "/v1/files/none", 404),
        ("GET", "/v1/outputs/none/x/y.png", 404),
        ("GET", "/v1/outputs/../in/x", 404),
    ],
)
async def test_an_unknown_path_or_method_is_a_problem(client: httpx.AsyncClient, method: str, path: str, status: int):
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient, runner: FakeRunner):
    answer = await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "x" * 300_000}})
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


async def test_headers_that_are_too_large_are_refused(client: httpx.AsyncClient):
    answer = await client.get("/v1/account", headers={"X-Large": "x" * 70_000})
    assert answer.status_code in {400, 431}


async def test_head_is_get_without_its_body(client: httpx.AsyncClient):
    answer = await client.head("/v1/account")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_cors_allows_browsers(client: httpx.AsyncClient):
    origin = {"Origin": "https://app.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    before = await client.options("/v1/predictions", headers=asked)
    assert before.status_code in {200, 204}
    assert before.headers["access-control-allow-origin"] == "https://app.example"
    answer = await client.get("/v1/account", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_the_openapi_document_and_its_viewer_are_served(client: httpx.AsyncClient):
    document = (await client.get("/openapi.json")).json()
    assert "/v1/predictions" in document["paths"]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/v1/streams/{token}"]["get"]["security"] == [{}]
    page = (await client.get("/-/docs")).text
    assert re.findall(r"(?:src|href)=.(https?:[^'\"]+)", page) == []
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-standalone-preset.js"):
        assert (await client.get(f"/-/static/viewer/{file}")).status_code == 200


async def test_readiness_names_what_is_missing(client: httpx.AsyncClient):
    assert (await client.get("/healthz")).status_code == 200
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": True, "broker": True, "runner": False}


async def test_a_prediction_is_measured_once_in_each_stage(client: httpx.AsyncClient, runner: FakeRunner):
    assert await observe_stages(client, runner, batched_at=now()) == dict.fromkeys(STAGES, 1)


async def test_a_stage_that_an_older_runner_does_not_report_counts_as_part_of_the_next(
    client: httpx.AsyncClient, runner: FakeRunner
):
    assert await observe_stages(client, runner) == {**dict.fromkeys(STAGES, 1), "batch": 0}


async def observe_stages(client: httpx.AsyncClient, runner: FakeRunner, **times: datetime) -> dict[str, float]:
    """How often each stage was measured for one prediction whose runner tells these times."""
    before = await read_metrics(client)
    waiting = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "x"}}, headers={"Prefer": "wait"})
    )
    job = await runner.next_job()
    told: dict[str, Any] = {"at": now(), "created_at": job.created_at, "pulled_at": now(), "started_at": now(), **times}
    await runner.publish(Succeeded(id=job.id, run=runner.next_run(job.attempt), values=[Raw(b'"echo x"')], **told))
    assert (await waiting).status_code == 201
    after = await read_metrics(client)
    return {stage: after[stage] - before[stage] for stage in after}


async def read_metrics(client: httpx.AsyncClient) -> dict[str, float]:
    found = COUNT.findall((await client.get("/metrics")).text)
    return {stage: float(count) for stage, count in found}
