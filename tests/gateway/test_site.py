"""The page for people, and who may ask for what it shows."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json, structs

from gateway.auth.authenticator import Authenticator
from gateway.auth.sessions import COOKIE_NAME, SESSION_SECONDS, Sessions, find_cookie, format_cookie
from gateway.settings import Settings
from gateway.store.accounts import Account, hash_token
from gateway.web.forms import Field, form
from tests.gateway.conftest import ECHO, INPUT, TOKEN, FakeRunner, frames

pytestmark = pytest.mark.slow


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LIST = {"type": "array"}
PAGE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def browser(url: str, runner: FakeRunner) -> AsyncGenerator[httpx.AsyncClient]:
    """Signed in, as a page of ours is."""
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, timeout=10, trust_env=False) as browser:
        answer = await sign_in(browser)
        assert answer.status_code == 303
        yield browser


async def sign_in(browser: httpx.AsyncClient, token: str = TOKEN, **fields: str) -> httpx.Response:
    return await browser.post("/-/session", data={"token": token, **fields})


async def create_prediction(browser: httpx.AsyncClient, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await browser.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers=named)


async def test_without_a_session_the_page_asks_for_a_token(url: str):
    async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
        answer = await stranger.get("/?model=acme/echo")
    assert answer.status_code == 200
    assert 'name="token"' in answer.text
    assert 'value="acme/echo"' in answer.text  # where signing in leads to
    assert "acme/lines" not in answer.text


async def test_the_page_runs_only_our_own_scripts(browser: httpx.AsyncClient):
    answer = await browser.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<style" not in answer.text
    assert "style=" not in answer.text
    assert 'src="-/static/site/site.js"' in answer.text  # relative: it works wherever a proxy has put it
    for path in ("site.js", "run.js", "site.css", "icon.svg"):
        found = await browser.get(f"/-/static/site/{path}")
        assert found.status_code == 200, path
        assert "javascript" in found.headers["content-type"] or not path.endswith(".js")


async def test_signing_in_sets_a_cookie_hidden_from_scripts_and_other_sites(url: str):
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, trust_env=False) as browser:
        answer = await sign_in(browser, model="acme/echo")
    assert answer.headers["location"] == "../?model=acme/echo"
    given = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(given.split("; "))
    assert "Secure" not in given
    assert TOKEN not in given


async def test_over_https_the_cookie_is_secure(url: str):
    headers = {"Origin": url.replace("http:", "https:"), "X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as browser:
        assert "Secure" in (await sign_in(browser)).headers["set-cookie"].split("; ")


async def test_a_wrong_token_signs_nobody_in(url: str):
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, trust_env=False) as browser:
        answer = await sign_in(browser, "wrong")
        assert answer.headers["location"] == "../?refused="
        assert "set-cookie" not in answer.headers
        assert "not valid" in (await browser.get("/?refused=")).text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", None])
async def test_nobody_is_signed_in_by_another_site(url: str, origin: str | None):
    headers = {"Origin": origin} if origin else {}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as browser:
        assert (await sign_in(browser)).status_code == 401


async def test_a_body_that_is_not_a_form_is_refused(url: str):
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, trust_env=False) as browser:
        assert (await browser.post("/-/session", json={"token": TOKEN})).status_code == 415
        many = "&".join(f"a{n}=1" for n in range(50))
        assert (await browser.post("/-/session", content=many, headers=FORM)).status_code == 400
        for odd in ("", "token=", "token=%00", "token=a%0d%0ab", "token=%ff%fe"):
            answer = await browser.post("/-/session", content=odd, headers=FORM)
            assert answer.headers["location"] == "../?refused=", odd


async def test_predictions_of_the_page_have_the_source_web(browser: httpx.AsyncClient, client: httpx.AsyncClient):
    created = (await create_prediction(browser, **PAGE)).json()
    assert created["source"] == "web"
    assert (await client.get(created["urls"]["get"])).json()["source"] == "web"
    assert (await create_prediction(client)).json()["source"] == "api"
    listed = (await browser.get("/v1/predictions?source=web", headers=PAGE)).json()["results"]
    assert [each["id"] for each in listed] == [created["id"]]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another site"),
        pytest.param({"Origin": "null"}, id="a sandbox"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="a sibling"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="a stranger"),
        pytest.param({"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, id="a forged host"),
    ],
)
async def test_the_cookie_counts_on_our_own_pages_only(browser: httpx.AsyncClient, headers: dict[str, str]):
    for answer in (
        await create_prediction(browser, **headers),
        await browser.get("/v1/predictions", headers=headers),
        await browser.get("/v1/account", headers=headers),
        await browser.delete("/-/session", headers=headers),
    ):
        assert answer.status_code == 401, answer.text
    assert (await browser.get("/v1/predictions", headers=PAGE)).json()["results"] == []


async def test_a_change_needs_an_origin(browser: httpx.AsyncClient):
    del browser.headers["Origin"]
    assert (await create_prediction(browser)).status_code == 401
    assert (await browser.get("/v1/account")).status_code == 200


async def test_a_token_needs_no_origin(browser: httpx.AsyncClient):
    answer = await create_prediction(browser, Origin="https://app.example", Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 201
    assert answer.json()["source"] == "api"
    assert (
        await create_prediction(browser, Authorization="Bearer wrong")
    ).status_code == 401  # whatever the cookie says


async def test_behind_a_proxy_the_public_url_is_the_origin(
    start: Callable[..., Any], settings: Settings, runner: FakeRunner
):
    url = await start(structs.replace(settings, public_url="https://ai.example/samovar"))
    headers = {"Origin": "https://ai.example"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as browser:
        assert (await sign_in(browser)).status_code == 303
        assert (await browser.get("/v1/account")).status_code == 200
        assert 'data-base="https://ai.example/samovar"' in (await browser.get("/")).text


async def test_a_link_from_another_site_reloads_as_our_page(browser: httpx.AsyncClient):
    there = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
    answer = await browser.get("/?model=acme/echo", headers=there)
    assert 'http-equiv="refresh" content="0"' in answer.text
    assert "acme/echo" not in answer.text
    again = await browser.get("/?model=acme/echo", headers={**there, "Sec-Fetch-Site": "same-origin"})
    assert 'data-name="text"' in again.text


async def test_signing_out_removes_the_cookie(browser: httpx.AsyncClient):
    answer = await browser.delete("/-/session")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await browser.get("/v1/account")).status_code == 401


async def test_a_session_ends_with_its_token(browser: httpx.AsyncClient, url: str, database_url: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM tokens")
    await connection.close()
    assert (await browser.get("/v1/account")).status_code == 401
    assert 'name="token"' in (await browser.get("/")).text


async def test_a_session_ends_at_once_where_its_token_is_revoked(browser: httpx.AsyncClient, client: httpx.AsyncClient):
    created = (await client.post("/v1/tokens", json={"scopes": ["predict"]})).json()
    await sign_in(browser, created["token"])
    assert (await browser.get("/v1/account")).status_code == 200
    assert (await client.delete(f"/v1/tokens/{created['id']}")).status_code == 204
    assert (await browser.get("/v1/account")).status_code == 401


async def test_a_session_has_the_limits_of_its_token(browser: httpx.AsyncClient, client: httpx.AsyncClient):
    created = (await client.post("/v1/tokens", json={"scopes": ["predict"], "others_per_minute": 2})).json()
    await sign_in(browser, created["token"])
    statuses = [(await browser.get("/v1/account")).status_code for _ in range(6)]  # a minute may turn among them
    assert 429 in statuses


@pytest.mark.parametrize("value", ["", "x", "..", "a.b.c", "ü.1.x", '"', "a.99999999999."])
async def test_a_foreign_cookie_signs_nobody_in(url: str, value: str):
    async with httpx.AsyncClient(base_url=url, trust_env=False) as browser:
        cookie_header = f"other={{%22}}; {COOKIE_NAME}={value}".encode("latin-1")
        assert (await browser.get("/v1/account", headers=[(b"Cookie", cookie_header)])).status_code == 401
        assert (await browser.get("/", headers=[(b"Cookie", cookie_header)])).status_code == 200


class FakeAccountLookup:
    def __init__(self) -> None:
        self.lookups = 0

    async def find_by_token(self, _: bytes) -> Account | None:
        return None

    async def find_by_token_id(self, id: str) -> Account | None:
        self.lookups += 1
        return None if id == "gone" else Account(id=1, type="user", username="ann", name="Ann", token=id)


async def test_a_session_expires_and_cannot_be_prolonged():
    now = [1000.0]
    tokens = FakeAccountLookup()
    auth = Authenticator(tokens, lambda: now[0])
    sessions = Sessions(auth.authenticate_token_id, b"secret", lambda: now[0])
    ann = Account(id=1, type="user", username="ann", name="Ann", token="abc")
    value = sessions.create(ann)
    assert await sessions.authenticate(value) == ann
    assert await sessions.authenticate(value) == ann
    assert tokens.lookups == 1
    id, expiry, mac = value.split(".")
    for forged in (f"{id}.{int(expiry) + 1}.{mac}", f"abd.{expiry}.{mac}", f"{id}.{expiry}.{mac[:-1]}"):
        with pytest.raises(Exception, match="valid"):
            await sessions.authenticate(forged)
    with pytest.raises(Exception, match="valid"):
        await Sessions(auth.authenticate_token_id, b"another", lambda: now[0]).authenticate(value)
    with pytest.raises(Exception, match="valid"):
        await sessions.authenticate(sessions.create(structs.replace(ann, token="gone")))
    now[0] += SESSION_SECONDS
    with pytest.raises(Exception, match="valid"):
        await sessions.authenticate(value)


def test_our_cookie_is_found_among_others():
    given = format_cookie("a.1.b", secure=False).partition(";")[0]
    assert find_cookie(f'odd={{"a": 1}}; {given}; b') == "a.1.b"
    assert find_cookie(f"not_{given}") is None
    assert find_cookie(None) is None


async def test_the_catalogue_shows_visible_models_only(browser: httpx.AsyncClient, url: str, database_url: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE models SET visibility = 'private' WHERE name = 'lines'")
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('ann', 'Ann')")
    await connection.execute(
        "INSERT INTO tokens (hash, account, scopes) SELECT $1, id, '{predict}' FROM accounts WHERE username = 'ann'",
        hash_token("anns-token"),
    )
    await connection.close()
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, timeout=10, trust_env=False) as ann:
        await sign_in(ann, "anns-token")
        seen = (await ann.get("/")).text
        assert (await ann.get("/?model=acme/lines")).status_code == 404
    assert "model=acme/echo" in seen
    assert "model=acme/lines" not in seen
    assert "model=acme/lines" in (await browser.get("/")).text  # of who looks after the installation


async def test_an_unknown_model_is_reported(browser: httpx.AsyncClient):
    for name in ("acme/none", "acme", "a/b/c", "%00/x", "<b>/x"):
        answer = await browser.get(f"/?model={name}")
        assert answer.status_code == 404, name
        assert "There is no model" in answer.text
        assert "<b>" not in answer.text


async def test_descriptions_of_models_are_escaped(browser: httpx.AsyncClient, database_url: str):
    evil = '"><script>alert(1)</script>'
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE models SET description = $1", evil)
    document: dict[str, Any] = json.decode(ECHO.openapi_schema)
    properties: Any = {evil: {"type": "string", "title": evil, "description": evil, "default": evil, "x-order": evil}}
    properties["list"] = {"type": "array", "items": {"type": "string"}, "default": ["</textarea>" + evil]}
    properties["choice"] = {"enum": [evil, 1]}
    document["components"]["schemas"]["Input"]["properties"] = properties
    await connection.execute(
        "UPDATE versions SET id = $1, openapi_schema = $2 WHERE id = $3",
        "e" * 64,
        json.encode(document).decode(),
        ECHO.version,
    )
    await connection.execute("UPDATE models SET latest_version = $1 WHERE name = 'echo'", "e" * 64)
    await connection.close()
    assert "<script>alert" not in (await browser.get("/")).text
    page = (await browser.get("/?model=acme/echo")).text
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("</textarea>") == 2


async def test_the_form_is_filled_in_with_a_prediction(browser: httpx.AsyncClient):
    created = (await create_prediction(browser)).json()
    page = (await browser.get(f"/?model=acme/echo&prediction={created['id']}")).text
    assert ">\nhi</textarea>" in page
    for missing in (f"model=acme/lines&prediction={created['id']}", "model=acme/echo&prediction=none"):
        assert (await browser.get(f"/?{missing}")).status_code == 404


async def test_the_page_follows_any_prediction_of_its_own(browser: httpx.AsyncClient, url: str, runner: FakeRunner):
    created = (await create_prediction(browser)).json()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
        assert (await stranger.get(f"/-/predictions/{created['id']}/events")).status_code == 401
    await runner.publish_echo(await runner.next_job())
    async with browser.stream("GET", f"/-/predictions/{created['id']}/events") as answer:
        events = [(event, data) async for event, _, data in frames(answer)]
    assert ("output", "echo hi") in events
    assert events[-1] == ("done", "{}")
    assert "status" in {event for event, _ in events}


def fields(properties: dict[str, Any], required: list[str] | None = None, **schemas: Any) -> dict[str, Field]:
    input = {"type": "object", "properties": properties, "required": required or []}
    created = form({"components": {"schemas": {"Input": input, **schemas}}})
    return {field.name: field for field in created.fields}


def test_a_form_has_the_predictors_order():
    created = form({"components": {"schemas": {"Input": INPUT, "size": {"type": "string", "enum": ["s", "m"]}}}})
    assert [(each.name, each.kind) for each in created.fields] == [
        ("text", "text"),
        ("times", "integer"),
        ("size", "choice"),
        ("seed", "integer"),
        ("image", "file"),
    ]
    text, times, size, seed, _ = created.fields
    assert text.required
    assert times.hint == "1 to 4"
    assert size.choices == ('"s"', '"m"')
    assert seed.nullable


@pytest.mark.parametrize(
    ("rule", "kind", "item", "default"),
    [
        pytest.param({"type": "string", "default": "a\nb"}, "text", "", "a\nb", id="text"),
        pytest.param({"type": "number", "default": 0}, "number", "", "0", id="zero"),
        pytest.param({"type": "boolean", "default": True}, "boolean", "", "true", id="a yes"),
        pytest.param({"type": "boolean", "nullable": True}, "choice", "", None, id="a yes or no or nothing"),
        pytest.param({"allOf": [{"$ref": "#/components/schemas/c"}], "default": 2}, "choice", "", "2", id="a choice"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer", "", None, id="an optional number"),
        pytest.param({"type": ["string", "null"]}, "text", "", None, id="an optional text"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "json", "", None, id="a union"),
        pytest.param({"type": "object", "default": {"a": 1}}, "json", "", '{"a":1}', id="an object"),
        pytest.param({}, "json", "", None, id="anything"),
        pytest.param({**LIST, "items": {"type": "string"}, "default": ["a", "b"]}, "list", "text", "a\nb", id="texts"),
        pytest.param(
            {**LIST, "items": {"type": "number"}, "default": [1, 2.5]}, "list", "number", "1\n2.5", id="numbers"
        ),
        pytest.param({"type": "array", "items": {"type": "string", "format": "uri"}}, "list", "file", None, id="files"),
        pytest.param({"type": "string", "format": "password", "default": "x"}, "secret", "", None, id="a secret"),
        pytest.param({"type": "string", "x-order": "odd", "default": None}, "text", "", None, id="an odd order"),
    ],
)
def test_each_input_has_its_field(rule: dict[str, Any], kind: str, item: str, default: str | None):
    field = fields({"a": rule}, c={"enum": [1, 2], "type": "integer"})["a"]
    assert (field.kind, field.item, field.default) == (kind, item, default)


@pytest.mark.parametrize(
    ("output", "shows", "joined"),
    [
        ({"type": "string"}, "text", False),
        ({"type": "array", "items": {"type": "string"}, "x-cog-array-display": "concatenate"}, "text", True),
        ({"type": "array", "items": {"type": "string", "format": "uri"}}, "files", False),
        ({"type": "object"}, "json", False),
        ({}, "json", False),
    ],
)
def test_a_form_knows_its_kind_of_output(output: dict[str, Any], shows: str, joined: bool):
    created = form({"components": {"schemas": {"Output": output}}})
    assert (created.shows, created.joined) == (shows, joined)
