from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from msgspec import json, structs
from nats.aio.client import Client

from gateway.store.pages import Cursor
from schemas import subjects
from schemas.models import Registration
from tests.gateway.conftest import ECHO, FakeRunner
from tests.gateway.other_accounts import open_client
from tests.gateway.test_predictions import until
from tests.gateway.test_pushes import archive, push, push_version

NEW = {"owner": "bob", "name": "thing", "visibility": "private", "hardware": "cpu"}
THING = "/v1/models/bob/thing"


@pytest.fixture
async def bob(url: str, database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_client(url, database_url, "bob") as client:
        yield client


@pytest.fixture
async def eve(url: str, database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_client(url, database_url, "eve") as client:
        yield client


async def run_prediction(
    client: httpx.AsyncClient, runner: FakeRunner, model: str = "acme/echo", text: str = "hi"
) -> dict:
    """A prediction that has succeeded."""
    begun = (await client.post(f"/v1/models/{model}/predictions", json={"input": {"text": text}})).json()
    await runner.publish_echo(await runner.next_job())
    return await until(client, begun["id"], "succeeded")


async def get_model(client: httpx.AsyncClient, model: str = "acme/echo") -> dict:
    answer = await client.get(f"/v1/models/{model}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_model_is_created_before_it_has_a_version(bob: httpx.AsyncClient):
    about = {
        "description": "A thing",
        "github_url": "https://example.com/x",
        "cover_image_url": "https://example.com/c",
    }
    answer = await bob.post("/v1/models", json={**NEW, **about})
    assert answer.status_code == 201, answer.text
    view = answer.json()
    expected = {**about, "owner": "bob", "name": "thing", "visibility": "private", "latest_version": None}
    assert {name: view[name] for name in expected} == expected
    assert (view["run_count"], view["default_example"], view["paper_url"]) == (0, None, None)
    assert view["url"].endswith("/bob/thing")
    assert (await bob.get(THING)).json() == view
    assert (await bob.get(f"{THING}/versions")).json()["results"] == []
    assert (await bob.post(f"{THING}/predictions", json={"input": {}})).status_code == 404


async def test_a_name_that_is_taken_is_refused_by_its_field(bob: httpx.AsyncClient):
    await bob.post("/v1/models", json=NEW)
    answer = await bob.post("/v1/models", json=NEW)
    assert answer.status_code == 422
    assert answer.json()["invalid_fields"][0]["field"] == "name"


REFUSED = [
    ({"github_url": "ftp://x/y"}, "github_url"),
    ({"paper_url": "javascript:alert(1)"}, "paper_url"),
    ({"license_url": "https://"}, "license_url"),
    ({"license_url": "http://[x"}, "license_url"),
    ({"cover_image_url": "https://x y"}, "cover_image_url"),
    ({"description": "a\0b"}, "description"),
    ({"description": "x" * 10_001}, "description"),
    ({"description": 7}, "description"),
    ({"visibility": "unlisted"}, "visibility"),
    ({"hardware": None}, "hardware"),
    ({"name": "Not A Name"}, "name"),
    ({"name": "a/b"}, "name"),
    ({"extra": 1}, "extra"),
    ({"owner": "x\0"}, "owner"),
    ({"hardware": "\0"}, "hardware"),
]


async def test_a_refusal_names_the_field(bob: httpx.AsyncClient):
    for wrong, named in REFUSED:
        answer = await bob.post("/v1/models", json={**NEW, **wrong})
        assert (answer.status_code, named in answer.json()["detail"]) == (422, True), (wrong, answer.text)
    for field in NEW:
        answer = await bob.post("/v1/models", json={name: value for name, value in NEW.items() if name != field})
        assert (answer.status_code, answer.json()["detail"]) == (422, f"- {field} is required\n")


async def test_only_an_admin_creates_models_for_others(client: httpx.AsyncClient, bob: httpx.AsyncClient):
    answer = await bob.post("/v1/models", json={**NEW, "owner": "eve"})
    assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    assert (await client.post("/v1/models", json=NEW)).status_code == 201


async def test_creating_a_model_needs_the_write_scope(url: str, database_url: str):
    async with open_client(url, database_url, "reader", ("predict",)) as reader:
        assert (await reader.post("/v1/models", json={**NEW, "owner": "reader"})).status_code == 403


async def test_a_change_leaves_other_fields_as_they_are(bob: httpx.AsyncClient):
    await bob.post("/v1/models", json={**NEW, "description": "A thing", "github_url": "https://example.com/x"})
    changes = {"readme": "# Héllo", "weights_url": "https://example.com/w", "github_url": None, "visibility": "public"}
    answer = await bob.patch(THING, json=changes)
    assert answer.status_code == 200, answer.text
    view = await get_model(bob, "bob/thing")
    assert answer.json() == view
    assert (view["description"], view["github_url"], view["visibility"]) == ("A thing", None, "public")
    readme = await bob.get(f"{THING}/readme")
    assert (readme.text, readme.headers["content-type"]) == ("# Héllo", "text/plain; charset=utf-8")
    assert (await bob.patch(THING, json={})).json() == view
    await bob.patch(THING, json={"readme": None})
    assert (await bob.get(f"{THING}/readme")).status_code == 404


BAD_CHANGES = [
    ({"paper_url": "nowhere"}, "paper_url"),
    ({"visibility": None}, "visibility"),
    ({"default_example": "none"}, "default_example"),
    ({"default_example": "\0"}, "default_example"),
    ({"name": "other"}, "name"),
    ({"readme": "\0"}, "readme"),
]


async def test_a_bad_change_changes_nothing(bob: httpx.AsyncClient):
    view = (await bob.post("/v1/models", json=NEW)).json()
    for body, named in BAD_CHANGES:
        answer = await bob.patch(THING, json={"description": "changed", **body})
        assert (answer.status_code, named in answer.json()["detail"]) == (422, True), (body, answer.text)
    assert await get_model(bob, "bob/thing") == view


async def test_somebody_elses_public_model_can_be_read_and_not_changed(bob: httpx.AsyncClient, eve: httpx.AsyncClient):
    await bob.post("/v1/models", json={**NEW, "visibility": "public"})
    assert (await eve.get(THING)).status_code == 200
    assert (await eve.patch(THING, json={"description": "mine"})).status_code == 403
    assert (await eve.post(f"{THING}/examples", json={"prediction": "x"})).status_code == 403
    assert (await eve.delete(f"{THING}/examples/x")).status_code == 403
    assert (await eve.delete(THING)).status_code == 403


async def test_somebody_elses_private_model_is_not_found(
    bob: httpx.AsyncClient, eve: httpx.AsyncClient, client: httpx.AsyncClient, runner: FakeRunner
):
    version = (await push_version(bob, runner, archive(), f"{THING}/versions"))["version"]
    p = await run_prediction(bob, runner, "bob/thing")
    assert (await bob.post(f"{THING}/examples", json={"prediction": p["id"]})).status_code == 201
    await bob.patch(THING, json={"visibility": "private", "readme": "# Hi"})
    at = f"{THING}/versions/{version}"
    looks = [THING, f"{THING}/readme", f"{THING}/examples", f"{THING}/versions", at, f"{at}/logs"]
    assert [(await bob.get(path)).status_code for path in looks] == [200] * 6
    assert [(await client.get(path)).status_code for path in looks] == [200] * 6  # an admin sees everything
    assert [(await eve.get(path)).status_code for path in looks] == [404] * 6
    assert (await eve.delete(at)).status_code == 404
    assert (await eve.delete(THING)).status_code == 404
    assert (await eve.patch(THING, json={"description": "x"})).status_code == 404
    assert (await eve.post(f"{THING}/predictions", json={"input": {"text": "x"}})).status_code == 404
    assert (await eve.post(f"{THING}/examples", json={"prediction": p["id"]})).status_code == 404
    assert (await eve.delete(f"{THING}/examples/{p['id']}")).status_code == 404
    assert (await eve.get(f"/v1/predictions/{p['id']}")).status_code == 404
    refused = await eve.post("/v1/predictions", json={"version": version, "input": {"text": "x"}})
    assert (refused.status_code, refused.json()["title"]) == (422, "Invalid version or not permitted")
    listed = (await client.get("/v1/models")).json()["results"]
    assert "thing" not in [model["name"] for model in listed]


async def test_nobody_pushes_to_a_model_that_is_hidden_from_them(client: httpx.AsyncClient, bob: httpx.AsyncClient):
    await client.post("/v1/models", json={**NEW, "owner": "nobody"})
    assert (await push(bob, archive(), "/v1/models/nobody/thing/versions")).status_code == 404
    assert (await push(bob, archive(), "/v1/models/nobody/other/versions")).status_code == 201


async def test_text_that_is_not_unicode_is_refused(bob: httpx.AsyncClient):
    await bob.post("/v1/models", json=NEW)
    for text in (b'"\\ud800"', b'"\xff"'):
        body = b'{"description": ' + text + b"}"
        answer = await bob.patch(THING, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (text, answer.text)


async def test_nobody_hides_a_model_from_everybody(bob: httpx.AsyncClient, runner: FakeRunner):
    answer = await bob.patch("/v1/models/acme/echo", json={"visibility": "private"})
    assert answer.status_code == 422
    assert "acme is no account" in answer.json()["detail"]


async def test_a_registration_keeps_what_people_wrote(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    """A runner that comes back says what it has; a new version of a folder without a readme takes none away."""
    await client.patch("/v1/models/acme/echo", json={"description": "Ours", "paper_url": "https://example.com/p"})
    await runner.announce()
    newer = structs.replace(ECHO, version="d" * 64, description=None, readme=None)
    await nc.publish(subjects.REGISTRATIONS, json.encode(Registration(agent="fake", offers=[ECHO, newer])))
    while (await get_model(client))["latest_version"]["id"] != newer.version:
        pass
    view = await get_model(client)
    assert (view["description"], view["paper_url"]) == ("Ours", "https://example.com/p")
    assert (await client.get("/v1/models/acme/echo/readme")).text == "# Readme"


async def test_a_push_keeps_what_its_folder_leaves_out(client: httpx.AsyncClient, runner: FakeRunner):
    await client.post("/v1/models", json={**NEW, "owner": "mine", "name": "model", "visibility": "public"})
    await client.patch("/v1/models/mine/model", json={"license_url": "https://example.com/l", "description": "Ours"})
    await push_version(client, runner, archive())
    view = await get_model(client, "mine/model")
    assert (view["license_url"], view["description"]) == ("https://example.com/l", "A echo")
    assert view["latest_version"] is not None


async def test_everybody_who_sees_a_model_sees_its_examples(
    client: httpx.AsyncClient, runner: FakeRunner, eve: httpx.AsyncClient
):
    first, second = [await run_prediction(client, runner, text=text) for text in ("one", "two")]
    for p in (second, first):
        assert (await client.post("/v1/models/acme/echo/examples", json={"prediction": p["id"]})).status_code == 201
    again = await client.post("/v1/models/acme/echo/examples", json={"prediction": second["id"]})
    assert (again.status_code, again.json()["id"]) == (200, second["id"])
    page = (await eve.get("/v1/models/acme/echo/examples")).json()
    assert [p["id"] for p in page["results"]] == [first["id"], second["id"]]
    assert (page["results"][0]["output"], page["results"][0]["input"]) == ("echo one", {"text": "one"})
    assert (page["next"], page["previous"]) == (None, None)
    assert (await eve.get(page["results"][0]["urls"]["get"])).json() == page["results"][0]
    assert (await client.delete(f"/v1/models/acme/echo/examples/{first['id']}")).status_code == 204
    assert (await client.delete(f"/v1/models/acme/echo/examples/{first['id']}")).status_code == 404
    assert [p["id"] for p in (await eve.get("/v1/models/acme/echo/examples")).json()["results"]] == [second["id"]]
    assert (await eve.get(f"/v1/predictions/{first['id']}")).status_code == 404


async def test_examples_come_in_pages(client: httpx.AsyncClient, runner: FakeRunner):
    ids = [(await run_prediction(client, runner, text=str(n)))["id"] for n in range(4)]
    for id in ids:
        await client.post("/v1/models/acme/echo/examples", json={"prediction": id})
    page = (await client.get("/v1/models/acme/echo/examples")).json()
    rest = (await client.get(page["next"])).json()
    assert [p["id"] for p in page["results"] + rest["results"]] == ids[::-1]
    assert (await client.get(rest["previous"])).json()["results"] == page["results"]


async def test_an_example_does_not_show_its_webhook(
    client: httpx.AsyncClient, runner: FakeRunner, eve: httpx.AsyncClient
):
    body = {"input": {"text": "hi"}, "webhook": "https://example.com/secret"}
    begun = (await client.post("/v1/models/acme/echo/predictions", json=body)).json()
    await runner.publish_echo(await runner.next_job())
    await until(client, begun["id"], "succeeded")
    await client.post("/v1/models/acme/echo/examples", json={"prediction": begun["id"]})
    assert "secret" not in (await eve.get("/v1/models/acme/echo/examples")).text
    assert "secret" not in (await eve.get(f"/v1/predictions/{begun['id']}")).text


async def test_only_succeeded_predictions_become_examples(
    client: httpx.AsyncClient, runner: FakeRunner, bob: httpx.AsyncClient
):
    done = await run_prediction(client, runner)
    waiting = (await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "x"}})).json()
    for path, id, told in (
        ("acme/echo", "none", "no such prediction"),
        ("acme/echo", "\0", "no such prediction"),
        ("acme/lines", done["id"], "It is a prediction of acme/echo"),
        ("acme/echo", waiting["id"], "Its status is starting"),
    ):
        answer = await client.post(f"/v1/models/{path}/examples", json={"prediction": id})
        assert answer.status_code == 422
        assert told in answer.json()["detail"]
    answer = await bob.post("/v1/models/acme/echo/examples", json={"prediction": done["id"]})
    assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (422, "prediction")


async def test_the_default_example_is_a_whole_prediction(client: httpx.AsyncClient, runner: FakeRunner):
    p = await run_prediction(client, runner)
    refused = await client.patch("/v1/models/acme/echo", json={"default_example": p["id"]})
    assert refused.status_code == 422
    await client.post("/v1/models/acme/echo/examples", json={"prediction": p["id"]})
    changed = await client.patch("/v1/models/acme/echo", json={"default_example": p["id"]})
    assert changed.json()["default_example"] == p
    [listed] = [each for each in (await client.get("/v1/models")).json()["results"] if each["name"] == "echo"]
    assert listed["default_example"] == p
    await client.delete(f"/v1/models/acme/echo/examples/{p['id']}")
    assert (await get_model(client))["default_example"] is None


async def test_a_version_that_a_deployment_serves_stays(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    done = await push_version(client, runner, archive())
    connection = await asyncpg.connect(database_url)
    deployment = await connection.fetchval(
        """INSERT INTO deployments (account, owner, name, newest, serving)
           SELECT id, 'acme', 'live', 3, 2 FROM accounts LIMIT 1 RETURNING id"""
    )
    for number, version in enumerate(("old", done["version"], "new"), 1):
        await connection.execute(
            """INSERT INTO releases (deployment, number, queue, model, version, hardware, min_instances,
                                    max_instances)
               VALUES ($1, $2, $2, 'mine/model', $3, 'cpu', 0, 1)""",
            deployment,
            number,
            version,
        )
    for path in (f"/v1/models/mine/model/versions/{done['version']}", "/v1/models/mine/model"):
        answer = await client.delete(path)
        assert answer.status_code == 422
        assert "deployment acme/live" in answer.json()["detail"]
        assert (await client.get(path)).status_code == 200
    await connection.execute("UPDATE deployments SET serving = 3")
    await connection.close()
    assert (await client.delete(f"/v1/models/mine/model/versions/{done['version']}")).status_code == 202


async def test_a_version_that_others_were_trained_from_stays(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    base = await push_version(client, runner, archive("base"))
    trained = await push_version(client, runner, archive("trained"), "/v1/models/mine/trained/versions")
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE versions SET base = $1 WHERE id = $2", base["version"], trained["version"])
    await connection.close()
    path = f"/v1/models/mine/model/versions/{base['version']}"
    answer = await client.delete(path)
    assert answer.status_code == 422
    assert "mine/trained, which was trained from it" in answer.json()["detail"]
    assert (await client.delete("/v1/models/mine/trained")).status_code == 204
    assert (await client.delete(path)).status_code == 202


async def test_runs_of_all_gateways_are_counted(client: httpx.AsyncClient, runner: FakeRunner, start: Callable):
    async with httpx.AsyncClient(base_url=await start(), headers=client.headers, trust_env=False) as other:
        for each in (client, other, client, other, client):
            await each.post("/v1/models/acme/echo/predictions", json={"input": {"text": "x"}})
        refused = await other.post("/v1/models/acme/echo/predictions", json={"input": {}})
        assert refused.status_code == 422
    await start.stop()  # type: ignore[attr-defined]
    async with httpx.AsyncClient(base_url=await start(), headers=client.headers, trust_env=False) as third:
        assert [(await get_model(third, name))["run_count"] for name in ("acme/echo", "acme/lines")] == [5, 0]


async def test_a_cursor_of_another_list_is_refused(client: httpx.AsyncClient, runner: FakeRunner):
    rank = Cursor(0.5, ("a", "b")).token()
    other = Cursor(datetime(2026, 1, 1, tzinfo=UTC), ("a", "b", "c")).token()
    nul = Cursor(datetime(2026, 1, 1, tzinfo=UTC), ("a", "\0")).token()
    for path in ("/v1/models", "/v1/models/acme/echo/examples", "/v1/models/acme/echo/versions"):
        for token in ("ff", "00" * 9, "", "é", "9" * 5000, rank, other, nul):
            answer = await client.get(path, params={"cursor": token})
            assert (answer.status_code, answer.json()["detail"][:7]) == (400, "cursor:"), (path, token)
