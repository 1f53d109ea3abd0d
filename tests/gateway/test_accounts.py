"""Accounts and their tokens: made, listed, changed, taken away; who may do that, and what comes of it."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import structs
from nats.js import JetStreamContext

from gateway.auth.authenticator import CACHE_SECONDS, Authenticator
from gateway.errors import BadToken
from gateway.store.accounts import Account, hash_token
from schemas import subjects
from tests.gateway.conftest import TOKEN, FakeRunner

pytestmark = pytest.mark.slow


PATH = "/v1/models/acme/echo/predictions"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def create_token(client: httpx.AsyncClient, *scopes: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tokens", json={"scopes": scopes or ["predict", "write", "admin"], **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def status(client: httpx.AsyncClient, token: str, path: str = "/v1/account") -> int:
    return (await client.get(path, headers=bearer(token))).status_code


async def test_a_new_token_is_shown_once_and_works_at_once(client: httpx.AsyncClient) -> None:
    token = await create_token(client, "write", "predict", "predict", name="laptop")
    text, id = token.pop("token"), token.pop("id")
    assert re.fullmatch("r8_[A-Za-z0-9]{37}", text)
    created_at = token.pop("created_at")
    kept = {"account": "samovar", "name": "laptop", "hint": text[:7], "scopes": ["predict", "write"]}
    assert token == kept
    assert await status(client, text) == 200
    listed = (await client.get("/v1/tokens")).json()
    assert listed["results"][0] == {**kept, "id": id, "created_at": created_at}
    assert [each["name"] for each in listed["results"]] == ["laptop", "SAMOVAR_TOKEN"]
    assert text not in str(listed)


async def test_the_database_holds_no_token(client: httpx.AsyncClient, database_url: str) -> None:
    text = (await create_token(client, "predict"))["token"]
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT t::text AS row, hash FROM tokens t")
    await connection.close()
    assert not any(text in row["row"] for row in rows)
    assert hash_token(text) in {row["hash"] for row in rows}


async def test_tokens_are_listed_in_pages(client: httpx.AsyncClient) -> None:
    await asyncio.gather(*(create_token(client, "predict", name=f"t{n}") for n in range(101)))
    first = (await client.get("/v1/tokens")).json()
    second = (await client.get(first["next"])).json()
    assert (len(first["results"]), len(second["results"]), second["next"]) == (100, 2, None)
    assert len({each["id"] for each in first["results"] + second["results"]}) == 102


async def test_a_revoked_token_stops_at_once(client: httpx.AsyncClient) -> None:
    token = await create_token(client, "predict")
    assert await status(client, token["token"]) == 200
    assert (await client.delete(f"/v1/tokens/{token['id']}")).status_code == 204
    assert await status(client, token["token"]) == 401
    assert (await client.delete(f"/v1/tokens/{token['id']}")).status_code == 404


class FakeAccounts:
    """The database's lookup of accounts, which takes as long as the test wants."""

    def __init__(self, account: Account | None) -> None:
        self.account = account
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def find_by_token_id(self, _: str) -> Account | None:
        return self.account

    async def find_by_token(self, _: bytes) -> Account | None:
        account = self.account
        self.asked.set()
        await self.go.wait()
        return account


ME = Account(id=1, type="user", username="me", name="Me")


@pytest.mark.parametrize(("lasts", "until"), [(None, CACHE_SECONDS), (3.0, 3.0), (60.0, CACHE_SECONDS)])
async def test_a_token_is_looked_up_again_after_a_while_or_when_it_expires(lasts: float | None, until: float) -> None:
    now = 100.0
    tokens = FakeAccounts(structs.replace(ME, expires_in=lasts))
    auth = Authenticator(tokens, lambda: now)
    await auth.authenticate("Bearer x")
    tokens.account = None
    now += until - 0.01
    assert (await auth.authenticate("token x")).id == 1
    now += 0.02
    with pytest.raises(BadToken):
        await auth.authenticate("Bearer x")


async def test_a_token_revoked_during_its_lookup_is_not_cached() -> None:
    tokens = FakeAccounts(ME)
    auth = Authenticator(tokens, lambda: 0.0)
    tokens.go.clear()
    asking = asyncio.create_task(auth.authenticate("Bearer x"))
    await tokens.asked.wait()
    tokens.account = None
    auth.forget()
    tokens.go.set()
    assert (await asking).id == 1
    with pytest.raises(BadToken):
        await auth.authenticate("Bearer x")


async def test_an_expired_token_is_refused(client: httpx.AsyncClient) -> None:
    token = await create_token(client, "predict", expires_in=1)
    assert await status(client, token["token"]) == 200
    expires_at = datetime.fromisoformat(token["expires_at"])
    async with asyncio.timeout(5):
        while await status(client, token["token"]) == 200:
            assert datetime.now(UTC) < expires_at + timedelta(seconds=0.5)
            await asyncio.sleep(0.02)
    assert datetime.now(UTC) >= expires_at


async def test_a_token_made_with_a_token_expires_no_later_than_it(client: httpx.AsyncClient) -> None:
    mine = await create_token(client, "write", expires_in=3600)
    for wanted in ({}, {"expires_in": 7200}, {"expires_at": "2099-01-01T00:00:00"}):
        answer = await client.post("/v1/tokens", json={"scopes": ["write"], **wanted}, headers=bearer(mine["token"]))
        assert answer.json()["expires_at"] == mine["expires_at"]
    sooner = await client.post("/v1/tokens", json={"scopes": ["write"], "expires_in": 5}, headers=bearer(mine["token"]))
    assert sooner.json()["expires_at"] < mine["expires_at"]


async def test_a_revoked_token_creates_no_tokens_even_while_cached(
    client: httpx.AsyncClient, database_url: str
) -> None:
    mine = await create_token(client, "write")
    assert await status(client, mine["token"]) == 200
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM tokens WHERE id = $1", mine["id"])  # as another gateway does
    await connection.close()
    answer = await client.post("/v1/tokens", json={"scopes": ["write"]}, headers=bearer(mine["token"]))
    assert answer.status_code == 401


async def test_nobody_grants_or_revokes_scopes_that_their_own_token_lacks(client: httpx.AsyncClient) -> None:
    writer, admin = await create_token(client, "write"), await create_token(client, "admin", "write")
    headers = bearer(writer["token"])
    given = await client.post("/v1/tokens", json={"scopes": ["write", "admin"]}, headers=headers)
    assert (given.status_code, given.json()["detail"][:32]) == (403, "scopes: your own token lacks adm")
    assert (await client.delete(f"/v1/tokens/{admin['id']}", headers=headers)).status_code == 403
    assert await status(client, admin["token"]) == 200
    assert (await client.delete(f"/v1/tokens/{writer['id']}", headers=headers)).status_code == 204


async def test_only_admins_see_or_change_other_accounts(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/accounts", json={"username": "bob"})).status_code == 201
    bobs = await create_token(client, "predict", "write", account="bob")
    mine = await create_token(client, "predict", "write")
    headers = bearer(bobs["token"])
    assert (await client.get("/v1/account", headers=headers)).json() == {
        "type": "user",
        "username": "bob",
        "name": "bob",
    }
    assert [each["id"] for each in (await client.get("/v1/tokens", headers=headers)).json()["results"]] == [bobs["id"]]
    assert (await client.get("/v1/tokens?account=samovar", headers=headers)).status_code == 403
    assert (await client.get("/v1/tokens?account=bob", headers=headers)).status_code == 200
    refused = await client.post("/v1/tokens", json={"scopes": ["write"], "account": "samovar"}, headers=headers)
    assert refused.status_code == 403
    assert (await client.delete(f"/v1/tokens/{mine['id']}", headers=headers)).status_code == 404
    assert [each["id"] for each in (await client.get("/v1/tokens?account=bob")).json()["results"]] == [bobs["id"]]
    assert (await client.delete(f"/v1/tokens/{bobs['id']}")).status_code == 204
    assert await status(client, bobs["token"]) == 401


BAD_TOKENS: list[tuple[dict[str, Any], str]] = [
    ({}, "scopes"),  # no scopes
    ({"scopes": []}, "scopes"),  # none of them
    ({"scopes": ["root"]}, "scopes"),  # no such scope
    ({"scopes": "predict"}, "scopes"),  # a text
    ({"name": "a\0"}, "name"),  # NUL in the name
    ({"name": "a" * 201}, "name"),  # a long name
    ({"expires_in": 0}, "expires_in"),  # at once
    ({"expires_in": 10**12}, "expires_in"),  # never
    ({"expires_in": 5, "expires_at": "2099-01-01T00:00:00Z"}, "expires_in"),  # two ends
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),  # in the past
    ({"expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),  # at the end of time
    ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),  # before time
    ({"account": "nobody"}, "account"),  # no such account
    ({"account": "a\0"}, "account"),  # NUL in its name
    ({"creates_per_minute": 0}, "creates_per_minute"),  # none at all
    ({"others_per_minute": 2**31}, "others_per_minute"),  # more than the database counts
    ({"owner": "me"}, "owner"),  # no such field
]


async def test_an_invalid_token_request_is_refused(client: httpx.AsyncClient) -> None:
    for body, told in BAD_TOKENS:
        given = body if "scopes" in body or not body else {"scopes": ["predict"], **body}
        answer = await client.post("/v1/tokens", json=given)
        assert (answer.status_code, told in answer.json()["detail"]) == (422, True), (body, answer.text)


async def test_hostile_account_names_are_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/tokens", params={"account": "a\0"})).status_code == 404
    assert (await client.get("/v1/tokens", params={"account": "nobody"})).status_code == 404
    assert (await client.get("/v1/accounts/a%00b")).status_code == 404
    assert (await client.get("/v1/accounts/%F0%9F%A6%86")).status_code == 404
    assert (await client.get("/v1/accounts", params={"cursor": "00"})).status_code == 400


async def test_an_account_is_created_read_changed_and_deleted(client: httpx.AsyncClient) -> None:
    body = {
        "username": "acme",
        "type": "organization",
        "github_url": "https://github.com/acme",
        "creates_per_minute": 9,
    }
    answer = await client.post("/v1/accounts", json=body)
    account = answer.json()
    created_at = account.pop("created_at")
    assert (answer.status_code, account) == (201, {**body, "name": "acme"})
    token = (await create_token(client, "predict", account="acme"))["token"]
    assert await status(client, token) == 200
    changes = {"name": "Acme", "github_url": None, "avatar_url": "https://a.example/a.png", "creates_per_minute": None}
    changed = (await client.patch("/v1/accounts/acme", json=changes)).json()
    now = {"username": "acme", "type": "organization", "name": "Acme", "avatar_url": "https://a.example/a.png"}
    assert changed == {**now, "created_at": created_at} == (await client.get("/v1/accounts/acme")).json()
    assert (await client.patch("/v1/accounts/acme", json={})).json() == changed
    assert (await client.get("/v1/account", headers=bearer(token))).json() == now
    assert [each["username"] for each in (await client.get("/v1/accounts")).json()["results"]] == ["acme", "samovar"]
    assert (await client.delete("/v1/accounts/acme")).status_code == 204
    assert await status(client, token) == 401
    for method in ("GET", "DELETE", "PATCH"):
        answer = await client.request(method, "/v1/accounts/acme", json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no account acme.")


BAD_ACCOUNTS: list[tuple[dict[str, Any], str]] = [
    ({"username": "samovar"}, "username: there is an account samovar already"),  # twice
    ({"username": "A B"}, "username"),  # no name
    ({"username": "a\0"}, "username"),  # NUL
    ({}, "username"),  # without one
    ({"username": "a", "type": "robot"}, "type"),  # no such type
    ({"username": "a", "type": None}, "type"),  # type taken away
    ({"username": "a", "name": ""}, "name"),  # an empty name
    ({"username": "a", "github_url": "javascript:alert(1)"}, "github_url"),  # no link
    ({"username": "a", "avatar_url": "https://a\n"}, "avatar_url"),  # a broken link
    ({"username": "a", "creates_per_minute": -1}, "creates_per_minute"),  # less than none
    ({"username": "a", "others_per_minute": 10**12}, "others_per_minute"),  # too many
]


async def test_an_invalid_account_is_refused(client: httpx.AsyncClient) -> None:
    for body, told in BAD_ACCOUNTS:
        answer = await client.post("/v1/accounts", json=body)
        assert (answer.status_code, told in answer.json()["detail"]) == (422, True), (body, answer.text)


async def test_accounts_with_predictions_are_not_deleted(client: httpx.AsyncClient, runner: FakeRunner) -> None:
    assert (await client.delete("/v1/accounts/samovar")).status_code == 422
    await client.post("/v1/accounts", json={"username": "bob"})
    token = (await create_token(client, "predict", account="bob"))["token"]
    assert (await client.post(PATH, json={"input": {"text": "hi"}}, headers=bearer(token))).status_code == 201
    answer = await client.delete("/v1/accounts/bob")
    assert (answer.status_code, "bob has made predictions" in answer.json()["detail"]) == (422, True)
    assert await status(client, token) == 200


async def test_an_account_that_another_gateway_deleted_creates_nothing_and_disturbs_nobody(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext, database_url: str
) -> None:
    await client.post("/v1/accounts", json={"username": "bob"})
    token = (await create_token(client, "predict", account="bob"))["token"]
    assert await status(client, token) == 200
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM accounts WHERE username = 'bob'")

    async def create(shown: str) -> int:
        answer = await client.post(PATH, json={"input": {"text": "hi"}}, headers={"Authorization": f"Bearer {shown}"})
        return answer.status_code

    answers = await asyncio.gather(*(create(each) for each in [TOKEN, token] * 5))
    assert answers == [201, 401] * 5
    upload = await client.post("/v1/files", files={"content": b"x"}, headers=bearer(token))
    assert upload.status_code == 401
    assert await connection.fetchval("SELECT count(*) FROM predictions") == 5
    await connection.close()
    assert (await js.stream_info(subjects.JOBS)).state.messages == 5


async def test_limits_of_an_account_and_a_token_count_from_their_next_call(
    client: httpx.AsyncClient, runner: FakeRunner
) -> None:
    token = (await create_token(client, "predict", "write", creates_per_minute=1000))["token"]

    async def left(text: str) -> str | None:
        answer = await client.post(PATH, json={"input": {"text": "hi"}}, headers=bearer(text))
        assert answer.status_code == 201
        return answer.headers.get("ratelimit-remaining")

    assert (await left(token), await left(TOKEN)) == ("999", None)
    await client.patch("/v1/accounts/samovar", json={"creates_per_minute": 500})
    assert (await left(token), await left(TOKEN)) in {("499", "498"), ("499", "499")}  # between them, a minute may turn
    await client.patch("/v1/accounts/samovar", json={"creates_per_minute": 0})
    assert await left(TOKEN) is None
