"""The short paths through nats-py, against a real server."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from nats.errors import BadSubjectError, MaxPayloadError
from nats.js import JetStreamContext

from bus.client import Client, Message, NoAnswer, NoResponders


@pytest.fixture
async def errors() -> list[Exception]:
    return []


@pytest.fixture
async def client(nats_url: str, errors: list[Exception]) -> AsyncGenerator[Client]:
    async def on_error(error: Exception) -> None:
        errors.append(error)

    client = Client()
    await client.connect(nats_url, error_cb=on_error)
    yield client
    await client.close()


class Listener:
    """Collects messages, and waits for them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._arrived = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._arrived.set()

    async def wait_for(self, count: int) -> list[Message]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.messages


async def test_messages_arrive_in_order_with_their_headers(client: Client) -> None:
    listener = Listener()
    await client.listen("news.*", listener)
    for number in range(1000):
        await client.publish("news.a", b"%d" % number, headers={"Number": str(number), "Colon": "a:b"})
    messages = await listener.wait_for(1000)
    assert [int(message.data) for message in messages] == list(range(1000))
    assert messages[7].headers == {"Number": "7", "Colon": "a:b"}
    assert (messages[7].subject, messages[7].status) == ("news.a", None)


async def test_each_request_gets_its_own_reply(client: Client) -> None:
    async def echo(message: Any) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe("echo", cb=echo)
    requests = [client.ask("echo", b"%d" % number, within=5) for number in range(200)]
    assert [int(reply.data) for reply in await asyncio.gather(*requests)] == list(range(200))


async def test_a_request_fails_at_once_where_nobody_listens(client: Client) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NoResponders):
            await client.ask("nobody.there", within=60)


async def test_a_request_without_a_reply_times_out(client: Client) -> None:
    await client.listen("silence", lambda _: None)
    with pytest.raises(NoAnswer):
        await client.ask("silence", within=0.05)


async def test_pending_requests_can_be_failed(client: Client) -> None:
    listener = Listener()
    await client.listen("silence", listener)
    request = asyncio.ensure_future(client.ask("silence", within=60))
    await listener.wait_for(1)
    client.fail_requests()
    with pytest.raises(NoAnswer):
        await request


async def test_an_error_in_a_listener_ends_neither_it_nor_the_connection(
    client: Client, errors: list[Exception]
) -> None:
    listener = Listener()

    def on_message(message: Message) -> None:
        listener(message)
        if message.data == b"bad":
            raise ValueError("bad")

    await client.listen("news", on_message)
    await client.publish("news", b"bad")
    await client.publish("news", b"good")
    assert [message.data for message in await listener.wait_for(2)] == [b"bad", b"good"]
    assert [str(error) for error in errors] == ["bad"]


async def test_a_listener_gets_nothing_after_it_unsubscribed(client: Client) -> None:
    listener, others = Listener(), Listener()
    subscription = await client.listen("news", listener)
    await client.listen("news", others)
    await subscription.unsubscribe()
    await client.publish("news", b"x")
    await others.wait_for(1)
    assert listener.messages == []


async def test_a_listener_gets_messages_after_a_reconnect(nats_url: str) -> None:
    listener, back = Listener(), asyncio.Event()

    async def reconnected() -> None:
        back.set()

    client = Client()
    await client.connect(nats_url, reconnected_cb=reconnected)
    await client.listen("news", listener)
    await client.force_reconnect()
    await asyncio.wait_for(back.wait(), 10)
    await client.publish("news", b"after")
    assert [message.data for message in await listener.wait_for(1)] == [b"after"]
    assert (await client.ask("$JS.API.INFO", within=5)).data
    await client.close()


async def test_short_and_long_paths_keep_the_order(client: Client) -> None:
    """Another sender's megabytes make the server slow to read, so that who publishes has to wait in between."""
    listener = Listener()
    await client.listen("news", listener)
    body = b"x" * 500_000
    for number in range(40):
        await client.publish("news", body + b"%d" % number)
    assert [int(message.data[500_000:]) for message in await listener.wait_for(40)] == list(range(40))


async def test_a_message_of_the_server_itself_has_a_status(client: Client, js: JetStreamContext) -> None:
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
async def test_a_message_that_the_server_would_refuse_is_not_sent(
    client: Client, subject: str, size: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await client.publish(subject, b"x" * size)
    await client.flush()  # the connection is as good as before
