"""`openai` from PyPI, unmodified, against the live stack and real models."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import openai
import pytest

from benchmarks.stack import Stack
from tests.live import Api

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CAPITAL: list[Any] = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
CAT, KITTEN, MARKET = "A cat sits on the mat.", "A kitten is sitting on a rug.", "The stock market fell sharply today."


@pytest.fixture
def ai(stack: Stack) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key=stack.token, timeout=240) as client:
        yield client


@pytest.fixture
async def async_ai(stack: Stack) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/openai/v1", api_key=stack.token, timeout=240) as client:
        yield client


def test_a_chat_is_answered(ai: openai.OpenAI) -> None:
    completion = ai.chat.completions.create(model="samovar/smollm2", messages=CAPITAL, temperature=0, max_tokens=40)
    assert "Paris" in (completion.choices[0].message.content or "")
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 10
    assert 0 < completion.usage.completion_tokens < 40


def test_earlier_messages_count(ai: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "You answer in one word."},
        {"role": "user", "content": "My name is Zebulon. Remember it."},
        {"role": "assistant", "content": "I will remember that your name is Zebulon."},
        {"role": "user", "content": "What is my name?"},
    ]
    completion = ai.chat.completions.create(model="samovar/smollm2", messages=messages, temperature=0, max_tokens=20)
    assert "Zebulon" in (completion.choices[0].message.content or "")


def test_a_chat_is_streamed(ai: openai.OpenAI) -> None:
    chunks = list(
        ai.chat.completions.create(
            model="samovar/smollm2", messages=CAPITAL, temperature=0, max_tokens=3, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_an_async_stream_is_stopped_by_a_text(async_ai: openai.AsyncOpenAI) -> None:
    stream = await async_ai.chat.completions.create(
        model="samovar/smollm2", messages=CAPITAL, temperature=0, max_tokens=200, stream=True, stop="Paris"
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "France" in text
    assert "Paris" not in text
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_stream_that_the_client_closes_is_canceled(async_ai: openai.AsyncOpenAI, api: Api) -> None:
    stream = await async_ai.chat.completions.create(
        model="samovar/smollm2",
        messages=[{"role": "user", "content": "Write a very long story."}],
        max_tokens=4000,
        stream=True,
    )
    first = await anext(aiter(stream))
    await stream.close()
    assert (await api.wait_until_final(first.id.removeprefix("chatcmpl-")))["status"] == "canceled"


def test_a_text_is_completed(ai: openai.OpenAI) -> None:
    completion = ai.completions.create(
        model="samovar/smollm2", prompt="The capital of France is", temperature=0, max_tokens=20
    )
    assert completion.choices[0].text
    assert completion.usage is not None


def test_texts_are_embedded(ai: openai.OpenAI) -> None:
    packed = ai.embeddings.create(model="samovar/minilm", input=[CAT, KITTEN, MARKET])
    plain = ai.embeddings.create(model="samovar/minilm", input=[CAT, KITTEN, MARKET], encoding_format="float")
    cat, kitten, market = (each.embedding for each in plain.data)
    assert len(cat) == 384
    assert dot(cat, kitten) > 0.5 > 0.2 > dot(cat, market)
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)
    assert plain.usage.total_tokens > 20


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_many_texts_are_embedded_in_their_order(ai: openai.OpenAI) -> None:
    texts = [f"the number {n}" for n in range(300)]
    embeddings = ai.embeddings.create(model="samovar/minilm", input=texts)
    alone = ai.embeddings.create(model="samovar/minilm", input=texts[217])
    assert [each.index for each in embeddings.data] == list(range(300))
    assert dot(embeddings.data[217].embedding, alone.data[0].embedding) > 0.999


def test_models_are_listed_and_retrieved(ai: openai.OpenAI) -> None:
    assert {"samovar/smollm2", "samovar/minilm"} <= {model.id for model in ai.models.list()}
    assert ai.models.retrieve("samovar/minilm").owned_by == "samovar"


def test_errors_arrive_as_the_clients_errors(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        ai.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        ai.chat.completions.create(model="samovar/nothing", messages=CAPITAL)
    with pytest.raises(openai.BadRequestError) as caught:
        ai.chat.completions.create(model="samovar/smollm2", messages=CAPITAL, n=2)
    assert caught.value.param == "n"
    with pytest.raises(openai.InternalServerError, match="more than 8192"):
        ai.chat.completions.create(model="samovar/smollm2", messages=[{"role": "user", "content": "word " * 9000}])
