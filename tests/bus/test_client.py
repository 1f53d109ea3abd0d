"""The short ways through nats-py, against a real server."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from nats.errors import BadSubjectError, MaxPayloadError
from nats.js import JetStreamContext

from bus.client import Client, Heard, NoAnswer, NoResponders


@pytest.fixture
async def errors() -> list[Exception]:
    return []


@pytest.fixture
async def client(nats_url: str, errors: list[Exception]) -> AsyncGenerator[Client]:
    async def erred(error: Exception) -> None:
        errors.append(error)

    client = Client()
    await client.connect(nats_url, error_cb=erred)
    yield client
    await client.close()


class Kept:
    """What was heard, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[Heard] = []
        self._came = asyncio.Event()

    def __call__(self, message: Heard) -> None:
        self.messages.append(message)
        self._came.set()

    async def until(self, count: int) -> list[Heard]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self._came.clear()
                await self._came.wait()
        return self.messages


async def test_messages_are_heard_in_order_with_their_headers(client: Client) -> None:
    kept = Kept()
    await client.hear("news.*", kept)
    for number in range(1000):
        await client.publish("news.a", b"%d" % number, headers={"Number": str(number), "Colon": "a:b"})
    heard = await kept.until(1000)
    assert [int(message.data) for message in heard] == list(range(1000))
    assert heard[7].headers == {"Number": "7", "Colon": "a:b"}
    assert (heard[7].subject, heard[7].status) == ("news.a", None)


async def test_a_question_has_its_own_answer(client: Client) -> None:
    async def echo(message: Any) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe("echo", cb=echo)
    asked = [client.ask("echo", b"%d" % number, within=5) for number in range(200)]
    assert [int(answer.data) for answer in await asyncio.gather(*asked)] == list(range(200))


async def test_nobody_there_is_said_at_once(client: Client) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NoResponders):
            await client.ask("nobody.there", within=60)


async def test_a_question_without_an_answer_ends(client: Client) -> None:
    await client.hear("silence", lambda _: None)
    with pytest.raises(NoAnswer):
        await client.ask("silence", within=0.05)


async def test_whoever_waits_can_be_told_that_there_is_no_answer(client: Client) -> None:
    heard = Kept()
    await client.hear("silence", heard)
    asked = asyncio.ensure_future(client.ask("silence", within=60))
    await heard.until(1)
    client.give_up()
    with pytest.raises(NoAnswer):
        await asked


async def test_what_a_hearer_raises_ends_neither_it_nor_the_connection(client: Client, errors: list[Exception]) -> None:
    kept = Kept()

    def heard(message: Heard) -> None:
        kept(message)
        if message.data == b"bad":
            raise ValueError("bad")

    await client.hear("news", heard)
    await client.publish("news", b"bad")
    await client.publish("news", b"good")
    assert [message.data for message in await kept.until(2)] == [b"bad", b"good"]
    assert [str(error) for error in errors] == ["bad"]


async def test_who_does_not_listen_any_more_hears_nothing(client: Client) -> None:
    kept, others = Kept(), Kept()
    subscription = await client.hear("news", kept)
    await client.hear("news", others)
    await subscription.unsubscribe()
    await client.publish("news", b"x")
    await others.until(1)
    assert kept.messages == []


async def test_hearing_goes_on_after_a_reconnect(nats_url: str) -> None:
    kept, back = Kept(), asyncio.Event()

    async def reconnected() -> None:
        back.set()

    client = Client()
    await client.connect(nats_url, reconnected_cb=reconnected)
    await client.hear("news", kept)
    await client.force_reconnect()
    await asyncio.wait_for(back.wait(), 10)
    await client.publish("news", b"after")
    assert [message.data for message in await kept.until(1)] == [b"after"]
    assert (await client.ask("$JS.API.INFO", within=5)).data
    await client.close()


async def test_short_and_long_ways_keep_the_order(client: Client) -> None:
    """Another sender's megabytes make the server slow to read, so that who publishes has to wait in between."""
    kept = Kept()
    await client.hear("news", kept)
    body = b"x" * 500_000
    for number in range(40):
        await client.publish("news", body + b"%d" % number)
    assert [int(message.data[500_000:]) for message in await kept.until(40)] == list(range(40))


async def test_what_the_server_says_instead_of_a_message_has_a_status(client: Client, js: JetStreamContext) -> None:
    await js.add_stream(name="EMPTY", subjects=["empty"], allow_direct=True)
    answer = await client.ask("$JS.API.DIRECT.GET.EMPTY", b'{"seq": 1}', within=5)
    assert (answer.status, answer.reason) == (404, "Message Not Found")
    assert answer.headers == {}
    await js.delete_stream("EMPTY")


@pytest.mark.parametrize(
    ("subject", "size", "error"),
    [
        pytest.param("", 1, BadSubjectError, id="no subject"),
        pytest.param("two words", 1, BadSubjectError, id="a blank in it"),
        pytest.param("news", 2_000_000, MaxPayloadError, id="too large"),
    ],
)
async def test_what_a_server_would_refuse_is_not_sent(
    client: Client, subject: str, size: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await client.publish(subject, b"x" * size)
    await client.flush()  # the connection is as good as before


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("$JS.ACK.JOBS.a.3.7.8.1700000000000000000.12", id="plain"),
        pytest.param("$JS.ACK.hub.abc.JOBS.a.3.7.8.1700000000000000000.12.rest", id="with a domain"),
    ],
)
def test_a_delivery_tells_how_often_it_came_and_what_is_behind_it(reply: str) -> None:
    message = Heard("jobs.a", reply, b"", None)
    assert (message.delivered, message.pending) == (3, 12)
