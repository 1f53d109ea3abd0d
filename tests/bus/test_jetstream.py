"""JetStream's protocol, against a real server."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

import pytest
from msgspec import json
from nats.js import JetStreamContext

from bus.client import Client, Message, NoResponders
from bus.jetstream import (
    ACK,
    FIRST_OF_SUBJECT,
    IDLE_HEARTBEAT,
    IN_PROGRESS,
    MESSAGE_ID,
    NAK,
    NO_MESSAGES,
    PENDING_MESSAGES,
    REQUEST_TIMEOUT,
    SECOND,
    STREAM_NOT_FOUND,
    SUBJECT,
    SUBJECT_FULL,
    TERM,
    WRONG_LAST_SEQUENCE,
    JetStream,
    PullRequest,
    decode_ack,
    delivery_count,
    nak,
    pending_count,
    pull_subject,
    read_messages,
)

STREAM = "LETTERS"
CONFIG = {
    "name": STREAM,
    "subjects": ["letters.>"],
    "storage": "memory",
    "allow_direct": True,
    "max_msgs_per_subject": 3,
    "discard": "new",
    "discard_new_per_subject": True,
}
CONSUMER = {"ack_policy": "explicit", "ack_wait": 30 * SECOND}


class Refused(Exception):
    """The error of this process for whatever JetStream refuses."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


@pytest.fixture
async def client(nats_url: str) -> AsyncGenerator[Client]:
    client = Client()
    await client.connect(nats_url)
    yield client
    await client.close()


@pytest.fixture
async def api(client: Client) -> JetStream:
    return JetStream(partial(client.ask, within=5), Refused)


@pytest.fixture
async def stream(api: JetStream, js: JetStreamContext) -> AsyncGenerator[str]:
    await api.ensure_stream(STREAM, CONFIG)
    yield STREAM
    await js.delete_stream(STREAM)


async def publish(client: Client, subject: str, data: bytes, headers: dict[str, str] | None = None) -> int:
    ack = decode_ack((await client.ask(subject, data, headers, within=5)).data)
    if ack.error is not None:
        raise Refused(ack.error.err_code, ack.error.description)
    return ack.seq


class Consumer:
    """A durable consumer, and the inbox that its messages come to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self, api: JetStream) -> None:
        await api.ensure_consumer(STREAM, "reader", CONSUMER)
        await self._client.listen(self._inbox, self._messages.put_nowait)

    async def pull(self, request: PullRequest) -> None:
        await self._client.publish(pull_subject(STREAM, "reader"), json.encode(request), reply=self._inbox)

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            return await self._messages.get()


@pytest.fixture
async def consumer(client: Client, api: JetStream, stream: str) -> Consumer:
    consumer = Consumer(client)
    await consumer.start(api)
    return consumer


async def test_a_missing_stream_is_created_once_and_keeps_its_configuration(api: JetStream, stream: str) -> None:
    info, was_missing = await api.ensure_stream(stream, {**CONFIG, "max_msgs_per_subject": 9})
    assert not was_missing
    assert info.created
    await asyncio.gather(*(api.ensure_stream(stream, CONFIG) for _ in range(10)))
    assert (await api.ensure_stream(stream, CONFIG))[0].created == info.created


async def test_a_stream_that_somebody_else_creates_meanwhile_is_used(api: JetStream, js: JetStreamContext) -> None:
    configs = [{**CONFIG, "max_msgs_per_subject": number % 2 + 1} for number in range(10)]
    results = await asyncio.gather(*(api.ensure_stream(STREAM, config) for config in configs))
    assert len({info.created for info, _ in results}) == 1
    assert any(was_missing for _, was_missing in results)
    await js.delete_stream(STREAM)


async def test_a_second_message_is_refused_where_the_first_is_expected(client: Client, stream: str) -> None:
    assert await publish(client, "letters.a", b"1", FIRST_OF_SUBJECT) == 1
    with pytest.raises(Refused) as refused:
        await publish(client, "letters.a", b"2", FIRST_OF_SUBJECT)
    assert refused.value.code == WRONG_LAST_SEQUENCE


async def test_a_message_with_the_id_of_another_is_stored_once(client: Client, api: JetStream, stream: str) -> None:
    first = await publish(client, "letters.a", b"1", {MESSAGE_ID: "one"})
    assert await publish(client, "letters.a", b"1", {MESSAGE_ID: "one"}) == first
    assert await api.count_messages(stream, "letters.>") == {"letters.a": 1}


async def test_a_full_subject_takes_no_more(client: Client, stream: str) -> None:
    for _ in range(3):
        await publish(client, "letters.a", b"x")
    with pytest.raises(Refused) as refused:
        await publish(client, "letters.a", b"x")
    assert refused.value.code == SUBJECT_FULL


async def test_the_last_message_is_replaced_if_its_sequence_number_is_known(api: JetStream, stream: str) -> None:
    first = await api.replace_last("letters.a", b"1", 0)
    assert first is not None
    assert await api.replace_last("letters.a", b"2", 0) is None
    assert await api.replace_last("letters.a", b"2", first) == first + 1


async def test_stored_messages_are_counted_and_deleted(client: Client, api: JetStream, stream: str) -> None:
    sequences = [await publish(client, f"letters.{name}", b"x") for name in "aab"]
    assert await api.count_messages(stream, "letters.>") == {"letters.a": 2, "letters.b": 1}
    assert await api.count_messages(stream, "letters.b") == {"letters.b": 1}
    await api.delete_message(stream, sequences[0])
    assert (await api.get_message(stream, sequences[0])).status == NO_MESSAGES
    await api.purge(stream, "letters.*")
    assert await api.count_messages(stream, "letters.>") == {}


async def test_a_stored_message_is_read_by_sequence_number_and_by_subject(
    client: Client, api: JetStream, stream: str
) -> None:
    sequence = await publish(client, "letters.a", b"1")
    await publish(client, "letters.a", b"2")
    message = await api.get_message(stream, sequence)
    assert (message.status, message.data, message.headers[SUBJECT]) == (None, b"1", "letters.a")
    assert (await api.get_last_message(stream, "letters.a")).data == b"2"
    assert (await api.get_last_message(stream, "letters.b")).status == NO_MESSAGES


async def test_all_messages_of_a_subject_are_read_in_order(
    client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.jetstream.MAX_BATCH_MESSAGES", 2)
    for name in "abcdef":
        await publish(client, f"letters.x.{name}", name.encode())
        await publish(client, f"letters.y.{name}", b"another's")
    messages = await read_messages(client, stream, "letters.x.*", within=5)
    assert [message.data for message in messages] == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert await read_messages(client, stream, "letters.z.*", within=5) == []


async def test_nobody_serves_a_missing_stream(client: Client, api: JetStream) -> None:
    with pytest.raises(NoResponders):
        await read_messages(client, "NONE", "none", within=5)
    with pytest.raises(NoResponders):
        await api.get_message("NONE", 1)
    with pytest.raises(Refused) as refused:
        await api.count_messages("NONE", ">")
    assert refused.value.code == STREAM_NOT_FOUND


async def test_a_consumer_delivers_as_many_messages_as_requested(client: Client, consumer: Consumer) -> None:
    for name in "abc":
        await publish(client, f"letters.{name}", name.encode())
    await consumer.pull(PullRequest(batch=2, no_wait=True))
    first, second = await consumer.next(), await consumer.next()
    assert [first.data, second.data] == [b"a", b"b"]
    assert (delivery_count(first), pending_count(first)) == (1, 2)
    await consumer.pull(PullRequest(batch=2, no_wait=True))
    assert (await consumer.next()).data == b"c"
    assert (await consumer.next()).status in (NO_MESSAGES, REQUEST_TIMEOUT)


async def test_a_request_without_messages_has_heartbeats_and_ends(consumer: Consumer) -> None:
    await consumer.pull(PullRequest(batch=4, expires=int(1.2 * SECOND), idle_heartbeat=SECOND // 2))
    messages = [await consumer.next() for _ in range(3)]
    assert [message.status for message in messages] == [
        IDLE_HEARTBEAT,
        IDLE_HEARTBEAT,
        REQUEST_TIMEOUT,
    ]
    assert messages[-1].headers[PENDING_MESSAGES] == "4"


@pytest.mark.parametrize(
    ("acknowledgement", "comes_again"),
    [
        pytest.param(ACK, False, id="done"),
        pytest.param(TERM, False, id="never again"),
        pytest.param(IN_PROGRESS, False, id="in hand"),
        pytest.param(NAK, True, id="at once"),
        pytest.param(nak(0.05), True, id="a moment later"),
    ],
)
async def test_the_acknowledgement_decides_whether_a_message_is_redelivered(
    client: Client, consumer: Consumer, acknowledgement: bytes, comes_again: bool
) -> None:
    await publish(client, "letters.a", b"x")
    await consumer.pull(PullRequest(batch=1, no_wait=True))
    client.publish_nowait((await consumer.next()).reply, acknowledgement)
    await consumer.pull(PullRequest(batch=1, expires=SECOND // 2))
    again = await consumer.next()
    assert (delivery_count(again) == 2) if comes_again else (again.status == REQUEST_TIMEOUT)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param(PullRequest(batch=500, no_wait=True), b'{"batch":500,"no_wait":true}', id="what there is"),
        pytest.param(
            PullRequest(batch=1, expires=30 * SECOND, idle_heartbeat=SECOND),
            b'{"batch":1,"expires":30000000000,"idle_heartbeat":1000000000}',
            id="what comes",
        ),
    ],
)
def test_a_request_says_only_what_is_set(request_: PullRequest, text: bytes) -> None:
    assert json.encode(request_) == text


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("$JS.ACK.JOBS.a.3.7.8.1700000000000000000.12", id="plain"),
        pytest.param("$JS.ACK.hub.abc.JOBS.a.3.7.8.1700000000000000000.12.rest", id="with a domain"),
    ],
)
@pytest.mark.parametrize(("count", "number"), [pytest.param(delivery_count, 3), pytest.param(pending_count, 12)])
def test_a_delivery_says_how_often_it_came_and_what_is_behind_it(
    reply: str, count: Callable[[Message], int], number: int
) -> None:
    assert count(Message("jobs.a", reply, b"", None)) == number
