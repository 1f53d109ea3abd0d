"""Events reach a stream that is lost and created again."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from msgspec import Raw, json
from nats.aio.client import Client
from nats.js import JetStreamContext

from runners.broker.connection import connected
from runners.broker.event_publisher import MAX_EVENT_BYTES, EventPublisher, RunEvents, Value, value_fields
from runners.broker.streams import Streams
from schemas import events, subjects
from schemas.events import Canceled, Log, Output, Run, Started

ID = "abcd0000000000000000000001"
RUN = Run(1, 1, "tester")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIGS = subjects.stream_configs(replicas=1, queue_cap=2, events_age=900, events_bytes=256_000_000)


@pytest.fixture
async def publisher(js: JetStreamContext, nats_url: str) -> AsyncGenerator[EventPublisher]:
    async with connected(nats_url, "tester") as connection:
        yield EventPublisher(connection, Streams(connection, CONFIGS))


@pytest.fixture
def run_events(publisher: EventPublisher) -> RunEvents:
    return RunEvents(publisher, ID, RUN)


async def stored(nc: Client) -> list[events.Event]:
    """All that the stream has of the prediction, in order."""
    js = nc.jetstream()
    result: list[events.Event] = []
    state = (await js.stream_info(subjects.EVENTS)).state
    for sequence in range(state.first_seq, state.last_seq + 1):
        data = (await js.get_msg(subjects.EVENTS, sequence)).data
        assert data is not None
        result.append(events.decode(data))
    return result


async def wipe(nc: Client) -> None:
    await nc.jetstream().delete_stream(subjects.EVENTS)


async def test_a_second_final_is_refused(publisher: EventPublisher, nc: Client) -> None:
    final = Canceled(id=ID, run=None, at=NOW)
    assert await publisher.publish_final(final)
    assert not await publisher.publish_final(final)
    assert await stored(nc) == [final]
    assert await publisher.has_final(ID)


async def test_a_missing_stream_is_created(publisher: EventPublisher, nc: Client) -> None:
    await wipe(nc)
    assert await publisher.publish(Started(id=ID, run=RUN, at=NOW)) == 1


async def test_pending_chunks_are_published_in_one_event(run_events: RunEvents, nc: Client) -> None:
    for value in (b"1", b"2"):
        run_events.add_value(Value(Raw(value)))
    await run_events.flush(include_logs=True)
    run_events.add_value(Value(Raw(b"3"), ["key"]))
    run_events.add_log("said")
    await run_events.flush(include_logs=True)
    assert await stored(nc) == [
        Output(id=ID, run=RUN, index=0, values=[Raw(b"1"), Raw(b"2")]),
        Output(id=ID, run=RUN, index=2, values=[Raw(b"3")], files=["key"]),
        Log(id=ID, run=RUN, offset=0, text="said"),
    ]


async def test_no_message_is_too_large(run_events: RunEvents, nc: Client) -> None:
    large = json.encode("x" * (MAX_EVENT_BYTES // 2))
    for _ in range(5):
        run_events.add_value(Value(Raw(large)))
    run_events.add_log("\x01" * 1_000_000)
    values, text = await run_events.remainder()
    published = await stored(nc)
    assert all(len(events.encode(event)) < subjects.MAX_MESSAGE_BYTES for event in published)
    chunks = [bytes(value) for event in published if isinstance(event, Output) for value in event.values]
    assert [*chunks, *(bytes(value.text) for value in values)] == [large] * 5
    assert "".join(event.text for event in published if isinstance(event, Log)) + text == "\x01" * 1_000_000


async def test_values_in_the_file_store_take_little_room_and_are_listed_by_position(
    run_events: RunEvents, nc: Client
) -> None:
    run_events.add_value(Value(Raw(b"1")))
    run_events.add_value(Value(Raw(b"null"), [], "out/a/b/c.json"))
    run_events.add_value(Value(Raw(b"null")))
    await run_events.flush(include_logs=True)
    for _ in range(8000):
        run_events.add_value(Value(Raw(b"null"), [], "k" * 130))
    values, _ = await run_events.remainder()
    first, *more = await stored(nc)
    assert first == Output(
        id=ID, run=RUN, index=0, values=[Raw(b"1"), *[Raw(b"null")] * 2], stored={1: "out/a/b/c.json"}
    )
    assert all(len(events.encode(event)) < subjects.MAX_MESSAGE_BYTES for event in more)
    assert sum(len(event.stored) for event in more if isinstance(event, Output)) + len(values) == 8000
    assert len(events.encode(Output(id=ID, run=RUN, index=0, **value_fields(values)))) < subjects.MAX_MESSAGE_BYTES


async def test_a_run_is_published_again_when_the_stream_was_wiped(run_events: RunEvents, nc: Client) -> None:
    run_events.started_event = Started(id=ID, run=RUN, at=NOW)
    for value in (b"1", b"2"):
        run_events.add_value(Value(Raw(value)))
        await run_events.flush(include_logs=True)
    run_events.add_log("said")
    await run_events.flush(include_logs=True)
    await wipe(nc)
    run_events.add_value(Value(Raw(b"3")))
    await run_events.flush(include_logs=True)
    published = await stored(nc)  # on a busy machine a stream that is made anew at once may find what the old one had
    outputs = [event for event in published if isinstance(event, Output)]
    assert next(event for event in published if not (isinstance(event, Output) and event.index == 2)) == (
        run_events.started_event
    )
    assert {each.index + place: bytes(value) for each in outputs for place, value in enumerate(each.values)} == {
        0: b"1",
        1: b"2",
        2: b"3",
    }
    assert [event.text for event in published if isinstance(event, Log)] == ["said"]


async def test_concurrent_publishers_create_missing_streams_once(publisher: EventPublisher, nc: Client) -> None:
    await wipe(nc)
    started = [Started(id=f"{ID[:-2]}{number:02}", run=RUN, at=NOW) for number in range(50)]
    await asyncio.gather(*map(publisher.publish, started))
    assert len(await stored(nc)) == 50
