"""`replicate` 1.0.7, unmodified: every method that it has for the resources of the API, sync and async."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from replicate import paginate
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.pagination import async_paginate
from replicate.webhook import Webhooks

from tests.contract.receiver import run_receiver
from tests.live import Api

Call = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.slow

HELLO = "samovar/hello-world"


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """`call(client.files, "list")` calls `client.files.list` or `client.files.async_list`."""
    prefix = "async_" if request.param == "async" else ""

    async def called(namespace: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(namespace, prefix + method)(*args, **kwargs)
        return await answer if isawaitable(answer) else answer

    return called


@pytest.fixture
def name() -> str:
    return f"made-{token_hex(4)}"


async def test_the_account(replicate: Client, call: Call) -> None:
    account = await call(replicate.accounts, "current")
    assert (account.type, account.username, account.name) == ("user", "samovar", "samovar")


async def test_hardware(replicate: Client, call: Call) -> None:
    assert "cpu" in [each.sku for each in await call(replicate.hardware, "list")]


async def test_collections(replicate: Client, call: Call, api: Api, name: str) -> None:
    created = {"name": name, "slug": name, "description": "Those that greet", "models": [HELLO]}
    assert (await api.http.post("/v1/collections", json=created)).status_code == 201
    assert name in [each.slug for each in await call(replicate.collections, "list")]
    resource = await call(replicate.collections, "get", name)
    assert (resource.description, [model.id for model in resource.models]) == ("Those that greet", [HELLO])
    assert (await api.http.delete(f"/v1/collections/{name}")).status_code == 204


async def test_files(replicate: Client, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("a note")
    created = await call(replicate.files, "create", path, metadata={"ticket": 7})
    assert (created.name, created.content_type, created.size, created.metadata) == (
        "note.txt",
        "text/plain",
        6,
        {"ticket": "7"},
    )
    assert created.id in [each.id for each in await call(replicate.files, "list")]
    assert (await call(replicate.files, "get", created.id)).etag == created.etag
    assert await call(replicate.files, "delete", created.id)
    with pytest.raises(ReplicateError, match="File not found"):
        await call(replicate.files, "get", created.id)


async def test_models(replicate: Client, call: Call, name: str) -> None:
    created = await call(
        replicate.models,
        "create",
        owner="samovar",
        name=name,
        visibility="private",
        hardware="cpu",
        description="A zebra of a model",
        github_url="https://example.org/zebra",
    )
    assert (created.owner, created.name, created.visibility, created.run_count) == ("samovar", name, "private", 0)
    assert (await call(replicate.models, "get", f"samovar/{name}")).description == "A zebra of a model"
    assert HELLO in [each.id for each in await call(replicate.models, "list")]
    assert f"samovar/{name}" in [each.id for each in await call(replicate.models, "search", "zebra")]
    assert await call(replicate.models, "delete", "samovar", name)
    with pytest.raises(ReplicateError) as refused:
        await call(replicate.models, "get", f"samovar/{name}")
    assert refused.value.status == 404


async def test_versions(replicate: Client, call: Call) -> None:
    model = await call(replicate.models, "get", HELLO)
    listed = list(await call(model.versions, "list"))
    resource = await call(model.versions, "get", listed[0].id)
    assert resource.id == model.latest_version.id
    assert "text" in resource.openapi_schema["components"]["schemas"]["Input"]["properties"]


async def test_a_version_in_use_is_not_deleted(replicate: Client, call: Call) -> None:
    model = await call(replicate.models, "get", HELLO)
    with pytest.raises(ReplicateError, match="folder of the runner"):
        await call(model.versions, "delete", model.latest_version.id)


async def test_predictions(replicate: Client, call: Call) -> None:
    version = (await call(replicate.models, "get", HELLO)).latest_version.id
    created = await call(replicate.predictions, "create", version=version, input={"text": "Ann"})
    await call(created, "wait")
    assert (created.status, created.output) == ("succeeded", "hello Ann")
    resource = await call(replicate.predictions, "get", created.id)
    assert (resource.output, resource.urls["get"].endswith(created.id)) == ("hello Ann", True)
    await call(created, "reload")
    assert created.id in [each.id for each in await call(replicate.predictions, "list")]


async def test_predictions_of_a_model(replicate: Client, call: Call) -> None:
    created = await call(replicate.models.predictions, "create", HELLO, input={"text": "Ann"}, wait=True)
    assert created.output == "hello Ann"


async def test_cancel(replicate: Client, call: Call) -> None:
    created = await call(replicate.predictions, "create", model="samovar/count", input={"n": 1, "delay": 60})
    assert (await call(replicate.predictions, "cancel", created.id)).id == created.id
    await call(created, "wait")
    assert created.status == "canceled"


async def test_pages_lead_to_the_oldest(replicate: Client, call: Call) -> None:
    created = [
        await call(replicate.predictions, "create", model=HELLO, input={"text": str(number)}) for number in range(101)
    ]
    seen = [p.id for page in paginate(replicate.predictions.list) for p in page]
    seen_too = [p.id async for page in async_paginate(replicate.predictions.async_list) for p in page]
    for ids in (seen, seen_too):
        assert len(ids) == len(set(ids))
        assert {each.id for each in created} <= set(ids)


async def test_deployments(replicate: Client, call: Call, name: str) -> None:
    version = (await call(replicate.models, "get", HELLO)).latest_version.id
    created = await call(
        replicate.deployments,
        "create",
        name=name,
        model=HELLO,
        version=version,
        hardware="cpu",
        min_instances=0,
        max_instances=1,
    )
    assert (created.id, created.current_release.number, created.current_release.version) == (
        f"samovar/{name}",
        1,
        version,
    )
    assert created.id in [each.id for each in await call(replicate.deployments, "list")]
    resource = await call(replicate.deployments, "get", created.id)
    assert resource.current_release.configuration.max_instances == 1
    prediction = await call(resource.predictions, "create", input={"text": "Ann"})
    await call(prediction, "wait")
    assert (prediction.output, prediction.version) == ("hello Ann", version)
    prediction = await call(replicate.deployments.predictions, "create", created.id, input={"text": "Bea"}, wait=True)
    assert prediction.output == "hello Bea"
    changed = await call(replicate.deployments, "update", "samovar", name, max_instances=2)
    assert (changed.current_release.number, changed.current_release.configuration.max_instances) == (2, 2)
    assert await call(replicate.deployments, "delete", "samovar", name)
    with pytest.raises(ReplicateError):
        await call(replicate.deployments, "get", created.id)


async def test_trainings(replicate: Client, call: Call, name: str) -> None:
    base = (await call(replicate.models, "get", "samovar/trainer")).latest_version.id
    await call(replicate.models, "create", owner="samovar", name=name, visibility="public", hardware="cpu")
    created = await call(
        replicate.trainings,
        "create",
        model="samovar/trainer",
        version=base,
        input={"greeting": "servus"},
        destination=f"samovar/{name}",
    )
    while created.status not in {"succeeded", "failed", "canceled"}:
        await call(created, "reload")
    assert (created.status, created.error) == ("succeeded", None)
    assert created.destination == f"samovar/{name}"
    assert "step 2 of 2" in created.logs
    assert created.id in [each.id for each in await call(replicate.trainings, "list")]
    resource = await call(replicate.trainings, "get", created.id)
    assert await call(replicate, "run", resource.output["version"], input={"name": "Ann"}) == "servus Ann"
    await call(replicate.models, "delete", "samovar", name)


async def test_a_training_is_canceled(replicate: Client, call: Call, name: str, closed: str) -> None:
    await call(replicate.models, "create", owner="samovar", name=name, visibility="public", hardware="cpu")
    base = (await call(replicate.models, "get", "samovar/trainer")).latest_version.id
    created = await call(
        replicate.trainings,
        "create",
        model="samovar/trainer",
        version=base,
        input={"greeting": "servus", "gate": closed},
        destination=f"samovar/{name}",
    )
    await call(replicate.trainings, "cancel", created.id)
    while created.status not in {"succeeded", "failed", "canceled"}:
        await call(created, "reload")
    assert created.status == "canceled"
    await call(replicate.models, "delete", "samovar", name)


async def test_webhooks_are_signed(replicate: Client, call: Call) -> None:
    secret = await call(replicate.webhooks.default, "secret")
    with run_receiver() as receiver:
        created = await call(
            replicate.predictions,
            "create",
            model=HELLO,
            input={"text": "Ann"},
            webhook=receiver.url,
            webhook_events_filter=["completed"],
        )
        [received] = receiver.wait_for(1)
    Webhooks.validate(headers=received.headers, body=received.body, secret=secret, tolerance=60)  # raises if it is not
    assert f'"id":"{created.id}"' in received.body
    assert '"output":"hello Ann"' in received.body
