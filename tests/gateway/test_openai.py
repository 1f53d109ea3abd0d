"""The official `openai` client against a gateway whose models answer as a test says."""

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import openai
import pytest
from msgspec import Raw, json, structs
from nats.aio.client import Client

from schemas import subjects
from schemas.events import Canceled, Failed, Succeeded
from schemas.jobs import Job
from schemas.models import Registration
from tests.gateway.conftest import STREAMING, TOKEN, FakeRunner, now, version_info

pytestmark = pytest.mark.slow


TALK_INPUT = {
    "type": "object",
    "title": "Input",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "x-order": 0},
        "system_prompt": {"type": "string", "x-order": 1},
        "max_new_tokens": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "x-order": 2},
    },
}
EMBED_INPUT = {"type": "object", "title": "Input", "required": ["text"], "properties": {"text": {"type": "string"}}}
VECTOR = {"type": "array", "items": {"type": "number"}, "title": "Output"}

TALK = structs.replace(version_info("talk", STREAMING, "1", TALK_INPUT), labels={"openai": "chat,completions"})
EMBED = structs.replace(version_info("embed", VECTOR, "2", EMBED_INPUT), labels={"openai": "embeddings"})
HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def ai(url: str, runner: FakeRunner, nc: Client, client: httpx.AsyncClient) -> AsyncGenerator[openai.AsyncOpenAI]:
    """Yield OpenAI's client of a gateway that has `acme/talk` and `acme/embed`."""
    async with asyncio.timeout(10):
        while (await client.get("/v1/models/acme/embed")).status_code != 200:
            await nc.publish(subjects.REGISTRATIONS, json.encode(Registration(agent="fake", offers=[TALK, EMBED])))
            await asyncio.sleep(0.02)
    async with openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=TOKEN, max_retries=0, timeout=10) as ai:
        yield ai


async def answer_with(runner: FakeRunner, *texts: str, read: int = 3) -> Job:
    """Answer the next job with these texts, a token each."""
    job = await runner.next_job()
    run = await runner.publish_lines(job, list(texts))
    counts = {"input_token_count": read, "output_token_count": len(texts)}
    await runner.publish(
        Succeeded(id=job.id, run=run, at=now(), started_at=now(), outputs=len(texts), many=True, metrics=counts)
    )
    return job


async def answer_embedding(runner: FakeRunner) -> None:
    """Answer the next text with its length and a half."""
    job = await runner.next_job()
    value = Raw(json.encode([len(json.decode(bytes(job.input or b""))["text"]), 0.5]))
    await runner.publish(
        Succeeded(
            id=job.id,
            run=runner.next_run(),
            at=now(),
            started_at=now(),
            values=[value],
            metrics={"input_token_count": 2},
        )
    )


async def wait_for_status(client: httpx.AsyncClient, id: str, status: str) -> None:
    """Wait until the prediction has this status."""
    async with asyncio.timeout(10):
        while (await client.get(f"/v1/predictions/{id}")).json()["status"] != status:
            pass


async def repeat_until_it_fails(request: Callable[[], Awaitable[Any]]) -> None:
    """Repeat a request until it fails; a gateway caches what it has read for two seconds."""
    async with asyncio.timeout(10):
        while True:
            await request()


async def create_other_token(database_url: str, scopes: str) -> str:
    """Create a token of another account."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('other', 'other')")
    await connection.execute(
        """INSERT INTO tokens (hash, account, scopes)
           VALUES (sha256('another'), (SELECT id FROM accounts WHERE username = 'other'), $1::text::text[])""",
        scopes,
    )
    await connection.close()
    return "another"


async def test_a_chat_is_answered(ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient) -> None:
    request = asyncio.create_task(
        ai.chat.completions.create(
            model="acme/talk", messages=[{"role": "system", "content": "Be brief."}, *HI], max_tokens=5, temperature=0
        )
    )
    job = await answer_with(runner, "Hel", "lo")
    done = await request
    assert json.decode(bytes(job.input or b"")) == {"prompt": "hi", "system_prompt": "Be brief.", "max_new_tokens": 5}
    assert (done.choices[0].message.role, done.choices[0].message.content) == ("assistant", "Hello")
    assert (done.choices[0].finish_reason, done.model, done.object) == ("stop", "acme/talk", "chat.completion")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (3, 2, 5)
    assert done.id == f"chatcmpl-{job.id}"
    listed = (await client.get("/v1/predictions")).json()["results"]
    assert [(p["id"], p["model"], p["status"]) for p in listed] == [(job.id, "acme/talk", "succeeded")]


async def test_a_chat_is_streamed(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    stream = await ai.chat.completions.create(
        model="acme/talk", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    job = await runner.next_job()
    run = await runner.publish_lines(job, ["Hel"])
    chunks = aiter(stream)
    first, second = await anext(chunks), await anext(chunks)  # before the rest is said
    assert (first.choices[0].delta.role, second.choices[0].delta.content) == ("assistant", "Hel")
    counts = {"input_token_count": 1, "output_token_count": 2}
    end = Succeeded(id=job.id, run=run, at=now(), outputs=1, many=True, values=[Raw(b'"lo\\n"')], metrics=counts)
    await runner.publish(end)
    rest = [chunk async for chunk in chunks]
    assert [chunk.choices[0].delta.content for chunk in rest[:-1]] == ["lo\n", None]
    assert rest[-2].choices[0].finish_reason == "stop"
    assert rest[-1].choices == []
    assert rest[-1].usage is not None
    assert rest[-1].usage.total_tokens == 3
    assert len({chunk.id for chunk in [first, second, *rest]}) == 1


async def test_an_answer_cut_by_its_limit_has_that_finish_reason(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    request = asyncio.create_task(ai.chat.completions.create(model="acme/talk", messages=HI, max_completion_tokens=2))
    await answer_with(runner, "a", "b")
    assert (await request).choices[0].finish_reason == "length"


async def test_a_text_is_completed(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    request = asyncio.create_task(ai.completions.create(model=TALK.version, prompt="Once", max_tokens=9))
    await answer_with(runner, " upon", " a time")
    done = await request
    assert (done.object, done.choices[0].text, done.choices[0].finish_reason) == (
        "text_completion", " upon a time", "stop",
    )  # fmt: skip


async def test_a_completion_is_streamed(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    stream = await ai.completions.create(model=f"acme/talk:{TALK.version}", prompt="Once", stream=True)
    await answer_with(runner, " upon", " a time")
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == " upon a time"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_text_after_a_stop_is_neither_sent_nor_computed(
    ai: openai.AsyncOpenAI, runner: FakeRunner, nc: Client, stream: bool
) -> None:
    canceled: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def note_cancel(message: Any) -> None:
        if not canceled.done():
            canceled.set_result(message.data.decode())

    await nc.subscribe(subjects.CANCELS, cb=note_cancel)
    await nc.flush()
    request = asyncio.create_task(chat_text(ai, stream=stream, stop=["\nUser:"]))
    job = await runner.next_job()
    run = await runner.publish_lines(job, ["Hello", "\n", "Us", "er: and then"])
    assert job.id in await asyncio.wait_for(canceled, 10)
    await runner.publish(
        Canceled(id=job.id, run=run, at=now(), outputs=4, many=True, metrics={"output_token_count": 4})
    )
    assert await request == ("Hello", "stop")


async def chat_text(ai: openai.AsyncOpenAI, *, stream: bool, **more: Any) -> tuple[str, str | None]:
    """Return the text of a chat, and why it ended."""
    answer: Any = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=stream, **more)
    if not stream:
        return answer.choices[0].message.content, answer.choices[0].finish_reason
    chunks = [chunk async for chunk in answer]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return text, chunks[-1].choices[0].finish_reason


async def test_texts_are_embedded_in_order(
    ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient
) -> None:
    request = asyncio.create_task(
        ai.embeddings.create(model="acme/embed", input=["a", "bb", "ccc"], encoding_format="float")
    )
    for _ in range(3):
        await answer_embedding(runner)
    done = await request
    assert [(each.index, each.embedding) for each in done.data] == [(0, [1, 0.5]), (1, [2, 0.5]), (2, [3, 0.5])]
    assert (done.usage.prompt_tokens, done.usage.total_tokens, done.model) == (6, 6, "acme/embed")
    assert len((await client.get("/v1/predictions")).json()["results"]) == 3


async def test_an_embedding_travels_as_little_endian_floats(
    ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient
) -> None:
    body = {"model": "acme/embed", "input": "four", "encoding_format": "base64"}
    request = asyncio.create_task(client.post("/openai/v1/embeddings", json=body))
    await answer_embedding(runner)
    packed = (await request).json()["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (4, 0.5)
    by_default = asyncio.create_task(ai.embeddings.create(model="acme/embed", input="four"))
    await answer_embedding(runner)
    assert (await by_default).data[0].embedding == [4, 0.5]


async def test_one_text_that_fails_ends_the_others(
    ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient
) -> None:
    request = asyncio.create_task(ai.embeddings.create(model="acme/embed", input=["a", "b"]))
    first, second = await runner.next_job(), await runner.next_job(settle=False)
    await runner.publish(Failed(id=first.id, run=runner.next_run(), at=now(), error="no memory"))
    with pytest.raises(openai.InternalServerError, match="no memory"):
        await request
    await wait_for_status(client, second.id, "canceled")


async def test_models_are_listed_by_their_labels(ai: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in await ai.models.list()] == ["acme/embed", "acme/talk"]
    model = await ai.models.retrieve("acme/talk")
    assert (model.id, model.owned_by, model.object) == ("acme/talk", "acme", "model")
    assert (await ai.models.retrieve(TALK.version)).id == "acme/talk"


async def test_a_version_shows_its_labels(ai: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/acme/talk")).json()["latest_version"]["labels"] == TALK.labels
    assert "labels" not in (await client.get("/v1/models/acme/echo")).json()["latest_version"]


async def test_private_models_of_others_are_hidden(ai: openai.AsyncOpenAI, database_url: str) -> None:
    other = ai.with_options(api_key=await create_other_token(database_url, "{predict}"))
    assert len([model.id async for model in await other.models.list()]) == 2
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE models SET visibility = 'private' WHERE name = 'embed'")
    await connection.close()
    assert [model.id async for model in await other.models.list()] == ["acme/talk"]
    assert len([model.id async for model in await ai.models.list()]) == 2
    with pytest.raises(openai.NotFoundError):
        await repeat_until_it_fails(lambda: other.models.retrieve("acme/embed"))


async def test_a_failed_model_is_a_server_error_without_a_retry(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    patient = ai.with_options(max_retries=2)
    request = asyncio.create_task(patient.chat.completions.create(model="acme/talk", messages=HI))
    job = await runner.next_job()
    await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), error="lost my voice"))
    with pytest.raises(openai.InternalServerError, match="lost my voice") as caught:
        await request
    assert caught.value.code == "model_failed"


async def test_a_stream_of_a_model_that_fails_raises(ai: openai.AsyncOpenAI, runner: FakeRunner) -> None:
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    job = await runner.next_job()
    await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), error="lost my voice"))
    with pytest.raises(openai.APIError, match="lost my voice"):
        [chunk async for chunk in stream]


def encode_chat(**fields: Any) -> bytes:
    return json.encode({"model": "acme/talk", "messages": HI, **fields})


def encode_embedding(**fields: Any) -> bytes:
    return json.encode({"model": "acme/embed", "input": "a", **fields})


REFUSED: list[tuple[str, bytes, int, str | None]] = [
    ("chat/completions", b"{", 400, None),
    ("chat/completions", b'"\xff"', 400, None),
    ("chat/completions", b"[]", 400, None),
    ("chat/completions", b"[" * 100_000, 400, None),
    ("chat/completions", json.encode({"messages": HI}), 400, "model"),
    ("chat/completions", encode_chat(messages=1), 400, "messages"),
    ("chat/completions", encode_chat(model="acme/none"), 404, "model"),
    ("chat/completions", encode_chat(model="\0"), 404, "model"),
    ("chat/completions", encode_chat(model="acme/echo"), 400, "model"),
    ("chat/completions", encode_chat(max_tokens=51), 400, "max_tokens"),
    ("chat/completions", encode_chat(max_tokens=10**18), 400, "max_tokens"),
    ("chat/completions", encode_chat(n=2), 400, "n"),
    ("chat/completions", b'{"model":"acme/talk","messages":[],"n":1e999}', 400, None),
    ("embeddings", encode_embedding(model="acme/talk"), 400, "model"),
    ("embeddings", encode_embedding(input=[1, 2]), 400, "input"),
    ("embeddings", encode_embedding(input="a\0"), 400, "input"),
    ("embeddings", encode_embedding(input="samovar-file:up/x"), 400, "input"),
    ("embeddings", encode_embedding(encoding_format="x"), 400, "encoding_format"),
    ("embeddings", b"x" * 300_000, 400, None),
    ("responses", b"{}", 404, None),
    ("chat", b"{}", 404, None),
]


async def test_unsupported_requests_are_refused_in_openais_shape(
    ai: openai.AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    for path, content, status, param in REFUSED:
        answer = await client.post(f"/openai/v1/{path}", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (path, content[:200], answer.text)
        error = answer.json()["error"]
        code = "model_not_found" if param == "model" and status == 404 else None
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code), content[:200]
        assert error["message"]


async def test_strangers_are_refused(ai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await ai.with_options(api_key="wrong").chat.completions.create(model="acme/talk", messages=HI)
    assert caught.value.code == "invalid_api_key"


async def test_a_token_without_the_scope_can_only_read(ai: openai.AsyncOpenAI, database_url: str) -> None:
    looking = ai.with_options(api_key=await create_other_token(database_url, "{}"))
    assert [model.id async for model in await looking.models.list()]
    with pytest.raises(openai.PermissionDeniedError):
        await looking.chat.completions.create(model="acme/talk", messages=HI)


async def test_a_client_that_leaves_a_stream_cancels_it(
    ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient
) -> None:
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    listed = (await client.get("/v1/predictions")).json()["results"]
    await stream.close()
    await wait_for_status(client, listed[0]["id"], "canceled")


async def test_a_client_that_leaves_in_the_middle_of_a_stream_cancels_it(
    ai: openai.AsyncOpenAI, runner: FakeRunner, nc: Client
) -> None:
    cancels = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    job = await runner.next_job()
    await runner.publish_lines(job, ["once"])
    chunks = aiter(stream)
    while (await anext(chunks)).choices[0].delta.content != "once":
        pass
    await stream.close()
    assert json.decode((await cancels.next_msg(5)).data)["id"] == job.id


async def test_a_client_that_leaves_cancels_what_it_waited_for(
    ai: openai.AsyncOpenAI, runner: FakeRunner, client: httpx.AsyncClient
) -> None:
    for request in (
        ai.chat.completions.create(model="acme/talk", messages=HI),
        ai.embeddings.create(model="acme/embed", input="a"),
    ):
        waiting = asyncio.create_task(request)
        job = await runner.next_job(settle=False)
        waiting.cancel()
        await wait_for_status(client, job.id, "canceled")


async def test_the_synchronous_client_reads_a_stream(ai: openai.AsyncOpenAI, url: str, runner: FakeRunner) -> None:
    def text() -> list[str]:
        with openai.OpenAI(base_url=f"{url}/openai/v1", api_key=TOKEN, max_retries=0, timeout=10) as ai:
            stream = ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
            return [chunk.choices[0].delta.content or "" for chunk in stream]

    request = asyncio.create_task(asyncio.to_thread(text))
    await answer_with(runner, "a", "b")
    assert "".join(await request) == "ab"
