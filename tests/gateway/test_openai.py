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
from schemas.models import Offers
from tests.gateway.conftest import STREAMING, TOKEN, Runner, now, offer

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

TALK = structs.replace(offer("talk", STREAMING, "1", TALK_INPUT), labels={"openai": "chat,completions"})
EMBED = structs.replace(offer("embed", VECTOR, "2", EMBED_INPUT), labels={"openai": "embeddings"})
HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def ai(url: str, runner: Runner, nc: Client, client: httpx.AsyncClient) -> AsyncGenerator[openai.AsyncOpenAI]:
    """To whose gateway `acme/talk` and `acme/embed` are offered."""
    async with asyncio.timeout(10):
        while (await client.get("/v1/models/acme/embed")).status_code != 200:
            await nc.publish(subjects.OFFERS, json.encode(Offers(agent="fake", offers=[TALK, EMBED])))
            await asyncio.sleep(0.02)
    async with openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=TOKEN, max_retries=0, timeout=10) as ai:
        yield ai


async def say(runner: Runner, *texts: str, read: int = 3) -> Job:
    """What the next job is answered with; a token for each text."""
    job = await runner.job()
    run = await runner.lines(job, list(texts))
    counts = {"input_token_count": read, "output_token_count": len(texts)}
    await runner.say(
        Succeeded(id=job.id, run=run, at=now(), started_at=now(), outputs=len(texts), many=True, metrics=counts)
    )
    return job


async def embed(runner: Runner) -> None:
    """The next text becomes its length, and a half."""
    job = await runner.job()
    value = Raw(json.encode([len(json.decode(bytes(job.input or b""))["text"]), 0.5]))
    await runner.say(
        Succeeded(
            id=job.id, run=runner.run(), at=now(), started_at=now(), values=[value], metrics={"input_token_count": 2}
        )
    )


async def status_of(client: httpx.AsyncClient, id: str, wanted: str) -> None:
    """Returns once it is this."""
    async with asyncio.timeout(10):
        while (await client.get(f"/v1/predictions/{id}")).json()["status"] != wanted:
            pass


async def eventually(ask: Callable[[], Awaitable[Any]]) -> None:
    """Ask until it fails; a gateway believes what it has read for two seconds."""
    async with asyncio.timeout(10):
        while True:
            await ask()


async def token(database_url: str, scopes: str) -> str:
    """Of another account."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('other', 'other')")
    await connection.execute(
        """INSERT INTO tokens (hash, account, scopes)
           VALUES (sha256('another'), (SELECT id FROM accounts WHERE username = 'other'), $1::text::text[])""",
        scopes,
    )
    await connection.close()
    return "another"


async def test_a_chat_is_answered(ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient) -> None:
    asked = asyncio.create_task(
        ai.chat.completions.create(
            model="acme/talk", messages=[{"role": "system", "content": "Be brief."}, *HI], max_tokens=5, temperature=0
        )
    )
    job = await say(runner, "Hel", "lo")
    done = await asked
    assert json.decode(bytes(job.input or b"")) == {"prompt": "hi", "system_prompt": "Be brief.", "max_new_tokens": 5}
    assert (done.choices[0].message.role, done.choices[0].message.content) == ("assistant", "Hello")
    assert (done.choices[0].finish_reason, done.model, done.object) == ("stop", "acme/talk", "chat.completion")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (3, 2, 5)
    assert done.id == f"chatcmpl-{job.id}"
    listed = (await client.get("/v1/predictions")).json()["results"]
    assert [(p["id"], p["model"], p["status"]) for p in listed] == [(job.id, "acme/talk", "succeeded")]


async def test_a_chat_is_streamed(ai: openai.AsyncOpenAI, runner: Runner) -> None:
    stream = await ai.chat.completions.create(
        model="acme/talk", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    job = await runner.job()
    run = await runner.lines(job, ["Hel"])
    chunks = aiter(stream)
    first, second = await anext(chunks), await anext(chunks)  # before the rest is said
    assert (first.choices[0].delta.role, second.choices[0].delta.content) == ("assistant", "Hel")
    counts = {"input_token_count": 1, "output_token_count": 2}
    end = Succeeded(id=job.id, run=run, at=now(), outputs=1, many=True, values=[Raw(b'"lo\\n"')], metrics=counts)
    await runner.say(end)
    rest = [chunk async for chunk in chunks]
    assert [chunk.choices[0].delta.content for chunk in rest[:-1]] == ["lo\n", None]
    assert rest[-2].choices[0].finish_reason == "stop"
    assert rest[-1].choices == []
    assert rest[-1].usage is not None
    assert rest[-1].usage.total_tokens == 3
    assert len({chunk.id for chunk in [first, second, *rest]}) == 1


async def test_an_answer_as_long_as_it_may_be_says_so(ai: openai.AsyncOpenAI, runner: Runner) -> None:
    asked = asyncio.create_task(ai.chat.completions.create(model="acme/talk", messages=HI, max_completion_tokens=2))
    await say(runner, "a", "b")
    assert (await asked).choices[0].finish_reason == "length"


async def test_a_text_is_completed(ai: openai.AsyncOpenAI, runner: Runner) -> None:
    asked = asyncio.create_task(ai.completions.create(model=TALK.version, prompt="Once", max_tokens=9))
    await say(runner, " upon", " a time")
    done = await asked
    assert (done.object, done.choices[0].text, done.choices[0].finish_reason) == (
        "text_completion", " upon a time", "stop",
    )  # fmt: skip


async def test_a_completion_is_streamed(ai: openai.AsyncOpenAI, runner: Runner) -> None:
    stream = await ai.completions.create(model=f"acme/talk:{TALK.version}", prompt="Once", stream=True)
    await say(runner, " upon", " a time")
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == " upon a time"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_follows_a_stop_is_not_said_and_not_computed(
    ai: openai.AsyncOpenAI, runner: Runner, nc: Client, stream: bool
) -> None:
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hear(message: Any) -> None:
        if not heard.done():
            heard.set_result(message.data.decode())

    await nc.subscribe(subjects.CANCELS, cb=hear)
    await nc.flush()
    asked = asyncio.create_task(text(ai, stream=stream, stop=["\nUser:"]))
    job = await runner.job()
    run = await runner.lines(job, ["Hello", "\n", "Us", "er: and then"])
    assert job.id in await asyncio.wait_for(heard, 10)
    await runner.say(Canceled(id=job.id, run=run, at=now(), outputs=4, many=True, metrics={"output_token_count": 4}))
    assert await asked == ("Hello", "stop")


async def text(ai: openai.AsyncOpenAI, *, stream: bool, **more: Any) -> tuple[str, str | None]:
    """Of a chat, and why it ended."""
    answer: Any = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=stream, **more)
    if not stream:
        return answer.choices[0].message.content, answer.choices[0].finish_reason
    chunks = [chunk async for chunk in answer]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return said, chunks[-1].choices[0].finish_reason


async def test_texts_are_embedded_in_order(ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient) -> None:
    asked = asyncio.create_task(
        ai.embeddings.create(model="acme/embed", input=["a", "bb", "ccc"], encoding_format="float")
    )
    for _ in range(3):
        await embed(runner)
    done = await asked
    assert [(each.index, each.embedding) for each in done.data] == [(0, [1, 0.5]), (1, [2, 0.5]), (2, [3, 0.5])]
    assert (done.usage.prompt_tokens, done.usage.total_tokens, done.model) == (6, 6, "acme/embed")
    assert len((await client.get("/v1/predictions")).json()["results"]) == 3


async def test_an_embedding_travels_as_little_endian_floats(
    ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient
) -> None:
    body = {"model": "acme/embed", "input": "four", "encoding_format": "base64"}
    asked = asyncio.create_task(client.post("/openai/v1/embeddings", json=body))
    await embed(runner)
    packed = (await asked).json()["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (4, 0.5)
    by_default = asyncio.create_task(ai.embeddings.create(model="acme/embed", input="four"))
    await embed(runner)
    assert (await by_default).data[0].embedding == [4, 0.5]


async def test_one_text_that_fails_ends_the_others(
    ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient
) -> None:
    asked = asyncio.create_task(ai.embeddings.create(model="acme/embed", input=["a", "b"]))
    first, second = await runner.job(), await runner.job(settle=False)
    await runner.say(Failed(id=first.id, run=runner.run(), at=now(), error="no memory"))
    with pytest.raises(openai.InternalServerError, match="no memory"):
        await asked
    await status_of(client, second.id, "canceled")


async def test_models_are_listed_by_their_labels(ai: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in await ai.models.list()] == ["acme/embed", "acme/talk"]
    found = await ai.models.retrieve("acme/talk")
    assert (found.id, found.owned_by, found.object) == ("acme/talk", "acme", "model")
    assert (await ai.models.retrieve(TALK.version)).id == "acme/talk"


async def test_a_version_tells_its_labels(ai: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/acme/talk")).json()["latest_version"]["labels"] == TALK.labels
    assert "labels" not in (await client.get("/v1/models/acme/echo")).json()["latest_version"]


async def test_private_models_of_others_are_not_there(ai: openai.AsyncOpenAI, database_url: str) -> None:
    other = ai.with_options(api_key=await token(database_url, "{predict}"))
    assert len([model.id async for model in await other.models.list()]) == 2
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE models SET visibility = 'private' WHERE name = 'embed'")
    await connection.close()
    assert [model.id async for model in await other.models.list()] == ["acme/talk"]
    assert len([model.id async for model in await ai.models.list()]) == 2
    with pytest.raises(openai.NotFoundError):
        await eventually(lambda: other.models.retrieve("acme/embed"))


async def test_a_failed_model_is_a_servers_error_that_is_not_tried_again(
    ai: openai.AsyncOpenAI, runner: Runner
) -> None:
    patient = ai.with_options(max_retries=2)
    asked = asyncio.create_task(patient.chat.completions.create(model="acme/talk", messages=HI))
    job = await runner.job()
    await runner.say(Failed(id=job.id, run=runner.run(), at=now(), error="lost my voice"))
    with pytest.raises(openai.InternalServerError, match="lost my voice") as caught:
        await asked
    assert caught.value.code == "model_failed"


async def test_a_stream_of_a_model_that_fails_raises(ai: openai.AsyncOpenAI, runner: Runner) -> None:
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    job = await runner.job()
    await runner.say(Failed(id=job.id, run=runner.run(), at=now(), error="lost my voice"))
    with pytest.raises(openai.APIError, match="lost my voice"):
        [chunk async for chunk in stream]


def chatting(**fields: Any) -> bytes:
    return json.encode({"model": "acme/talk", "messages": HI, **fields})


def embedding(**fields: Any) -> bytes:
    return json.encode({"model": "acme/embed", "input": "a", **fields})


REFUSED: list[tuple[str, bytes, int, str | None]] = [
    ("chat/completions", b"{", 400, None),
    ("chat/completions", b'"\xff"', 400, None),
    ("chat/completions", b"[]", 400, None),
    ("chat/completions", b"[" * 100_000, 400, None),
    ("chat/completions", json.encode({"messages": HI}), 400, "model"),
    ("chat/completions", chatting(messages=1), 400, "messages"),
    ("chat/completions", chatting(model="acme/none"), 404, "model"),
    ("chat/completions", chatting(model="\0"), 404, "model"),
    ("chat/completions", chatting(model="acme/echo"), 400, "model"),
    ("chat/completions", chatting(max_tokens=51), 400, "max_tokens"),
    ("chat/completions", chatting(max_tokens=10**18), 400, "max_tokens"),
    ("chat/completions", chatting(n=2), 400, "n"),
    ("chat/completions", b'{"model":"acme/talk","messages":[],"n":1e999}', 400, None),
    ("embeddings", embedding(model="acme/talk"), 400, "model"),
    ("embeddings", embedding(input=[1, 2]), 400, "input"),
    ("embeddings", embedding(input="a\0"), 400, "input"),
    ("embeddings", embedding(input="samovar-file:up/x"), 400, "input"),
    ("embeddings", embedding(encoding_format="x"), 400, "encoding_format"),
    ("embeddings", b"x" * 300_000, 400, None),
    ("responses", b"{}", 404, None),
    ("chat", b"{}", 404, None),
]


async def test_what_cannot_be_followed_is_refused_in_openais_shape(
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


async def test_a_token_without_the_right_may_only_look(ai: openai.AsyncOpenAI, database_url: str) -> None:
    looking = ai.with_options(api_key=await token(database_url, "{}"))
    assert [model.id async for model in await looking.models.list()]
    with pytest.raises(openai.PermissionDeniedError):
        await looking.chat.completions.create(model="acme/talk", messages=HI)


async def test_a_client_that_leaves_a_stream_cancels_it(
    ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient
) -> None:
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    listed = (await client.get("/v1/predictions")).json()["results"]
    await stream.close()
    await status_of(client, listed[0]["id"], "canceled")


async def test_a_client_that_leaves_in_the_middle_of_a_stream_cancels_it(
    ai: openai.AsyncOpenAI, runner: Runner, nc: Client
) -> None:
    asked = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    stream = await ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
    job = await runner.job()
    await runner.lines(job, ["once"])
    chunks = aiter(stream)
    while (await anext(chunks)).choices[0].delta.content != "once":
        pass
    await stream.close()
    assert json.decode((await asked.next_msg(5)).data)["id"] == job.id


async def test_a_client_that_leaves_cancels_what_it_waited_for(
    ai: openai.AsyncOpenAI, runner: Runner, client: httpx.AsyncClient
) -> None:
    for asked in (
        ai.chat.completions.create(model="acme/talk", messages=HI),
        ai.embeddings.create(model="acme/embed", input="a"),
    ):
        waiting = asyncio.create_task(asked)
        job = await runner.job(settle=False)
        waiting.cancel()
        await status_of(client, job.id, "canceled")


async def test_the_synchronous_client_reads_a_stream(ai: openai.AsyncOpenAI, url: str, runner: Runner) -> None:
    def said() -> list[str]:
        with openai.OpenAI(base_url=f"{url}/openai/v1", api_key=TOKEN, max_retries=0, timeout=10) as ai:
            stream = ai.chat.completions.create(model="acme/talk", messages=HI, stream=True)
            return [chunk.choices[0].delta.content or "" for chunk in stream]

    asked = asyncio.create_task(asyncio.to_thread(said))
    await say(runner, "a", "b")
    assert "".join(await asked) == "ab"
