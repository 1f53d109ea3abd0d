from collections.abc import AsyncGenerator
from itertools import product

import asyncpg
import httpx
import pytest

from gateway.store.search import parse_phrase
from tests.gateway.conftest import FakeRunner
from tests.gateway.other_accounts import open_client
from tests.gateway.test_models import NEW

ABOUT = {
    ("samovar", "hello-world"): ("Says hello", "public"),
    ("samovar", "whisper_large.v3"): ("Writes down what is said", "public"),
    ("acme", "painter"): ("Makes pictures of whispering trees", "public"),
    ("acme", "upscale"): ("Larger pictures", "public"),
    ("bob", "whisper-secret"): ("Writes down secrets", "private"),
}


@pytest.fixture
async def models(client: httpx.AsyncClient) -> dict[tuple[str, str], tuple[str, str]]:
    for (owner, name), (description, visibility) in ABOUT.items():
        body = {**NEW, "owner": owner, "name": name, "description": description, "visibility": visibility}
        assert (await client.post("/v1/models", json=body)).status_code == 201
    await client.patch("/v1/models/acme/upscale", json={"readme": "# Upscale\nIt came after whisper."})
    return ABOUT


@pytest.fixture
async def eve(url: str, database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_client(url, database_url, "eve") as client:
        yield client


async def names(client: httpx.AsyncClient, text: str, base: str = "/v1/models") -> list[str]:
    answer = await client.request("QUERY", base, content=text.encode())
    assert answer.status_code == 200, answer.text
    return [model["name"] for model in answer.json()["results"]]


async def test_the_name_counts_more_than_the_description_and_that_more_than_the_readme(
    eve: httpx.AsyncClient, models: object
):
    assert await names(eve, "whisper") == ["whisper_large.v3", "painter", "upscale"]


async def test_the_last_word_may_be_the_beginning_of_one(eve: httpx.AsyncClient, models: object):
    for text in ("hell", "hello wor", "hello-world", "samovar/hello-world", "HELLO", "says hello", "say hel"):
        assert await names(eve, text) == ["hello-world"], text
    assert await names(eve, "hel world") == []  # only the last one
    assert await names(eve, "whisper_large.v3") == ["whisper_large.v3"]


async def test_words_are_left_out_kept_together_or_alternatives(eve: httpx.AsyncClient, models: object):
    assert await names(eve, "whisper -trees") == ["whisper_large.v3", "upscale"]
    assert await names(eve, "pictures -whisper") == []
    assert await names(eve, '"larger pictures"') == ["upscale"]
    assert sorted(await names(eve, "hello or upscale")) == ["hello-world", "upscale"]


async def test_private_models_are_found_by_their_owner_alone(
    eve: httpx.AsyncClient, client: httpx.AsyncClient, models: object, url: str, database_url: str
):
    assert await names(eve, "secret") == []
    assert (await eve.get("/v1/search", params={"query": "secret"})).json()["models"] == []
    assert await names(client, "secret") == ["whisper-secret"]  # an admin
    async with open_client(url, database_url, "bob") as bob:
        assert await names(bob, "secret") == ["whisper-secret"]


async def test_clients_send_searches_in_several_ways(eve: httpx.AsyncClient, models: object):
    bases = "/v1/models", "/models", "/v1/v1/models", "/v1/models/"
    types = "text/plain", "application/json", "multipart/form-data"
    for base, content, media_type in product(bases, (b"hello", b'"hello"'), types):
        answer = await eve.request("QUERY", base, content=content, headers={"Content-Type": media_type})
        assert [model["name"] for model in answer.json()["results"]] == ["hello-world"], (base, content, media_type)
        assert answer.headers["content-type"] == "application/json"


async def test_only_the_method_query_searches(eve: httpx.AsyncClient, models: object):
    assert (await eve.post("/v1/models/_query", content=b"hello")).status_code == 404
    assert (await eve.request("QUERY", "/v1/predictions", content=b"hello")).status_code == 405
    assert (await eve.request("QUERY", "/v1/models", headers={"Authorization": "Bearer x"})).status_code == 401
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "QUERY"}
    assert "QUERY" in (await eve.options("/v1/models", headers=asked)).headers["access-control-allow-methods"]


ODD = [
    "",
    " ",
    "the",
    "\0",
    "hello\0world",
    "'",
    "it's",
    "'':*",
    "& | ! <-> ( :*",
    "\\",
    "-",
    "- - -",
    '"',
    '"hello',
    "a" * 100_000,
    "\U0001f600" * 5_000,
    "İ" * 5_000,
    "-a " * 5_000,
    '"' * 5_000,
    "x/" * 5_000,
    "١٢٣",
    "\u0301",
    "or or or",
    "%s %(a)s $1 {x}",
    "http://x/y?z=1#q",
    "1e400",
    "NaN",
    "null",
    "{}",
]


async def test_odd_phrases_get_a_response(eve: httpx.AsyncClient, models: object):
    for text in ODD:
        await names(eve, text)
    for body in (b"\xff\xfe", b'"\\ud800"', b'"\\u0000"', b"[" * 50_000):
        assert (await eve.request("QUERY", "/v1/models", content=body)).status_code == 200
    for text in ODD:
        answer = await eve.get("/v1/search", params={"query": text[:5_000]})
        assert answer.status_code == (200 if text.strip() else 400), text
    for raw in ("%ff", "%ed%a0%80", "%00"):
        assert (await eve.get(f"/v1/search?query={raw}")).status_code in {200, 400}
        assert (await eve.get(f"/v1/models?query={raw}")).status_code == 200
    assert (await eve.request("QUERY", "/v1/models", content=b"x" * 300_000)).status_code == 413


async def test_results_come_in_pages_that_any_method_follows(
    client: httpx.AsyncClient, eve: httpx.AsyncClient, database_url: str
):
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO models (owner, name, description) SELECT 'acme', 'm' || n, 'many ' || repeat('many ', n % 3)"
        " FROM generate_series(1, 60) n"
    )
    await connection.close()
    answer = (await eve.request("QUERY", "/models", content=b"many")).json()
    pages, seen = [answer], [model["name"] for model in answer["results"]]
    while (following := pages[-1]["next"]) is not None:
        as_get = (await eve.get(following)).json()
        assert (await eve.request("QUERY", following, content=b"many")).json() == as_get
        pages.append(as_get)
        seen += [model["name"] for model in as_get["results"]]
    assert [len(page["results"]) for page in pages] == [25, 25, 10]
    assert len(set(seen)) == 60
    assert [int(name[1:]) % 3 for name in seen] == sorted((n % 3 for n in range(60)), reverse=True)
    assert pages[0]["previous"] is None
    assert (await eve.get(pages[1]["previous"])).json()["results"] == pages[0]["results"]
    cursor = (await eve.get("/v1/models")).json()["next"].partition("cursor=")[2]
    assert (await eve.get(f"/v1/models?query=many&cursor={cursor}")).status_code == 400


async def test_search_finds_models_and_collections(client: httpx.AsyncClient, eve: httpx.AsyncClient, models: object):
    names = ["bob/whisper-secret", "samovar/whisper_large.v3"]
    made = {"name": "Speech", "description": "All that whispers", "models": names}
    assert (await client.post("/v1/collections", json=made)).status_code == 201
    found = (await eve.get("/search", params={"query": "whisper", "limit": "1"})).json()
    [best] = found["models"]
    assert best["model"] == (await eve.get("/v1/models/samovar/whisper_large.v3")).json()
    assert best["metadata"]["tags"] == ["speech"]
    assert best["metadata"]["generated_description"] is None
    assert best["metadata"]["score"] > 0
    speech = {"name": "Speech", "slug": "speech", "description": "All that whispers"}
    assert found["collections"] == [{**speech, "models": ["samovar/whisper_large.v3"]}]
    assert (found["query"], found["pages"]) == ("whisper", [])
    assert len((await eve.get("/v1/search", params={"query": "whisper"})).json()["models"]) == 3


async def test_a_search_names_the_parameter_that_is_wrong(eve: httpx.AsyncClient):
    for query in ("", "?query=", "?query=%20"):
        answer = await eve.get(f"/v1/search{query}")
        assert (answer.status_code, answer.json()["detail"]) == (400, 'Query parameter "query" is required')
    for limit in ("0", "51", "-1", "x", "9" * 5_000, "", "1.5", "١"):
        answer = await eve.get("/v1/search", params={"query": "x", "limit": limit})
        assert (answer.status_code, answer.json()["detail"][:6]) == (400, "limit:"), limit
    assert (await eve.get("/v1/search", params={"query": "x", "limit": "50"})).status_code == 200


async def test_a_registered_version_is_found(client: httpx.AsyncClient, runner: FakeRunner):
    assert await names(client, "ech") == ["echo"]


def test_only_a_plain_last_word_is_a_prefix():
    assert parse_phrase("hello wor").last_prefix == "'wor':*"
    assert parse_phrase("a-b").all_but_last == "a "
    assert [parse_phrase(text).last_prefix for text in ("cat -dog", '"cat dog"', "cat ", "", "x'")] == [
        "",
        "",
        "'cat':*",
        "",
        "",
    ]
