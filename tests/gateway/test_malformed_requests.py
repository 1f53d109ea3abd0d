"""Requests that nobody should send: each gets a clear 4xx, and nothing of it is kept."""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json

from tests.gateway.conftest import TOKEN, FakeRunner

PATH = "/v1/models/acme/echo/predictions"
JSON = {"Content-Type": "application/json"}
FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(scalars, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each))


@pytest.fixture
async def nothing_is_stored(client: httpx.AsyncClient, runner: FakeRunner) -> AsyncGenerator[None]:
    """Whatever was refused has left no prediction behind."""
    yield
    assert (await client.get("/v1/predictions")).json()["results"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(b'{"input":{"text":"a"},"input":{"text":"b"}}', 400, "more than once", id="a key twice"),
        pytest.param(b'{"input":{"text":"a","text":"b"}}', 400, '"text" stands more than once', id="an input twice"),
        pytest.param(b'{"input":{"text":"a","\\u0074ext":"b"}}', 400, "more than once", id="the same key, escaped"),
        pytest.param(b'{"input":{"text":NaN}}', 400, "parse", id="NaN"),
        pytest.param(b'{"input":{"text":"a","times":Infinity}}', 400, "parse", id="Infinity"),
        pytest.param(b'{"input":{"text":"a","times":1e999}}', 400, "range", id="a float beyond all bounds"),
        pytest.param(b'{"input":{"text":"a","times":1' + b"0" * 5000 + b"}}", 400, "64 bits", id="5,000 digits"),
        pytest.param(b'{"input":{"text":"a","seed":18446744073709551616}}', 400, "64 bits", id="one beyond 64 bits"),
        pytest.param(b'{"input":' * 100 + b"1" + b"}" * 100, 400, "64 levels", id="deep"),
        pytest.param(b"[" * 100_000, 400, "64 levels", id="very deep, and cut off"),
        pytest.param('{"input":{"text":"é"}}'.encode("utf-16"), 400, "parse", id="UTF-16"),
        pytest.param('{"input":{"text":"é"}}'.encode("latin-1"), 400, "parse", id="Latin-1"),
        pytest.param(b'{"input":{"text":"\\ud800"}}', 400, "parse", id="half a surrogate pair"),
        pytest.param(b'{"input":{"text":"a\\u0000b"}}', 422, "NUL", id="NUL"),
        pytest.param(b'{"input":{"te\\u0000xt":"a"}}', 422, "NUL", id="NUL in a key"),
        pytest.param(b'\xef\xbb\xbf{"input":{"text":"a"}}', 400, "parse", id="a byte order mark"),
        pytest.param(b'{"input":{"text":"a"}} {}', 400, "parse", id="two texts"),
        pytest.param(b'{"input":null}', 422, "object", id="null"),
        pytest.param(b'{"input":{"text":"a"},"webhook":7}', 422, "webhook", id="a webhook of another type"),
        pytest.param(b'{"input":{"text":"a"},"webhook_events_filter":["all"]}', 422, "start, output", id="no event"),
    ],
)
async def test_a_malformed_request_gets_a_clear_4xx(
    client: httpx.AsyncClient, nothing_is_stored: None, body: bytes, status: int, words: str
) -> None:
    answer = await client.post(PATH, content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert answer.json()["status"] == status


async def test_no_request_causes_a_server_error(client: httpx.AsyncClient, runner: FakeRunner) -> None:
    """Inputs of all kinds, and texts that are nearly JSON; what is accepted can be read again."""
    loop = asyncio.get_running_loop()

    async def posted(body: bytes) -> None:
        answer = await client.post(PATH, content=body, headers=JSON)
        assert answer.status_code in {201, 400, 422}, answer.text
        if answer.status_code == 201:
            read = await client.get(f"/v1/predictions/{answer.json()['id']}")
            assert json.encode(read.json()["input"]) == json.encode(answer.json()["input"])

    @FEW
    @given(st.dictionaries(st.sampled_from(["text", "times", "size", "seed", "image", "\0", "x"]), values))
    def inputs(input: dict[str, object]) -> None:
        from json import dumps

        asyncio.run_coroutine_threadsafe(posted(dumps({"input": input}).encode("utf-8", "replace")), loop).result(20)

    @FEW
    @given(st.binary(max_size=60))
    def texts(noise: bytes) -> None:
        asyncio.run_coroutine_threadsafe(posted(b'{"input":{"text":"a' + noise + b'"}}'), loop).result(20)

    await asyncio.to_thread(inputs)
    await asyncio.to_thread(texts)


@pytest.mark.parametrize(
    ("length", "body", "status"),
    [
        pytest.param("-1", b"", b"400", id="negative"),
        pytest.param("ten", b"", b"400", id="no number"),
        pytest.param("10, 12", b"{}", b"400", id="two numbers"),
        pytest.param("99999999999999999999", b"{}", b"4", id="larger than any"),
        pytest.param("2", b'{}{"input":{"text":"smuggled"}}', b"4", id="less than is sent"),
    ],
)
async def test_a_wrong_content_length_is_refused(
    url: str, nothing_is_stored: None, length: str, body: bytes, status: bytes
) -> None:
    said = await send_raw(url, length, body)
    assert said.startswith(b"HTTP/1.1 " + status), said[:200]
    assert b"smuggled" not in said


async def test_a_body_that_breaks_off_is_no_request(url: str, nothing_is_stored: None) -> None:
    """More was promised than came, and then the client was gone."""
    assert not (await send_raw(url, "500", b'{"input":{"text":"half', leave=True)).startswith(b"HTTP/1.1 2")


async def test_a_body_beyond_the_limit_is_not_read(client: httpx.AsyncClient, nothing_is_stored: None) -> None:
    answer = await client.post(PATH, content=b'{"input":{"text":"' + b"a" * 300_000 + b'"}}', headers=JSON)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


async def send_raw(url: str, length: str, body: bytes, *, leave: bool = False) -> bytes:
    """What a server answers to a request that no HTTP library would send."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body)
    await writer.drain()
    if leave:
        writer.write_eof()
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said
