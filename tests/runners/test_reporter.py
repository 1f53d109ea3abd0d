"""Events reach a stream that comes and goes."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from msgspec import Raw, json
from nats.aio.client import Client
from nats.js import JetStreamContext

from runners.broker.connection import connected
from runners.broker.event_publisher import PIECE, Report, Reporter, Value, carried
from runners.broker.streams import Streams
from schemas import events, subjects
from schemas.events import Canceled, Log, Output, Run, Started

ID = "abcd0000000000000000000001"
RUN = Run(1, 1, "tester")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIGS = subjects.streams(replicas=1, queue_cap=2, events_age=900, events_bytes=256_000_000)


@pytest.fixture
async def reporter(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Reporter]:
    async with connected(nats_url, "tester") as link:
        yield Reporter(link, Streams(link, CONFIGS))


@pytest.fixture
def report(reporter: Reporter) -> Report:
    return Report(reporter, ID, RUN)


async def stored(nc: Client) -> list[events.Event]:
    """All that the stream has of the prediction, in order."""
    js = nc.jetstream()
    found: list[events.Event] = []
    state = (await js.stream_info(subjects.EVENTS)).state
    for sequence in range(state.first_seq, state.last_seq + 1):
        data = (await js.get_msg(subjects.EVENTS, sequence)).data
        assert data is not None
        found.append(events.decode(data))
    return found


async def wipe(nc: Client) -> None:
    await nc.jetstream().delete_stream(subjects.EVENTS)


async def test_a_second_final_is_refused(reporter: Reporter, nc: Client) -> None:
    final = Canceled(id=ID, run=None, at=NOW)
    assert await reporter.end(final)
    assert not await reporter.end(final)
    assert await stored(nc) == [final]
    assert await reporter.ended(ID)


async def test_a_missing_stream_is_made(reporter: Reporter, nc: Client) -> None:
    await wipe(nc)
    assert await reporter.say(Started(id=ID, run=RUN, at=NOW)) == 1


async def test_chunks_that_came_together_go_together(report: Report, nc: Client) -> None:
    for value in (b"1", b"2"):
        report.value(Value(Raw(value)))
    await report.say(logs=True)
    report.value(Value(Raw(b"3"), ["key"]))
    report.text("said")
    await report.say(logs=True)
    assert await stored(nc) == [
        Output(id=ID, run=RUN, index=0, values=[Raw(b"1"), Raw(b"2")]),
        Output(id=ID, run=RUN, index=2, values=[Raw(b"3")], files=["key"]),
        Log(id=ID, run=RUN, offset=0, text="said"),
    ]


async def test_no_message_is_too_large(report: Report, nc: Client) -> None:
    large = json.encode("x" * (PIECE // 2))
    for _ in range(5):
        report.value(Value(Raw(large)))
    report.text("\x01" * 1_000_000)
    values, text = await report.rest()
    said = await stored(nc)
    assert all(len(events.encode(event)) < subjects.MAX_MESSAGE for event in said)
    chunks = [bytes(value) for event in said if isinstance(event, Output) for value in event.values]
    assert [*chunks, *(bytes(value.text) for value in values)] == [large] * 5
    assert "".join(event.text for event in said if isinstance(event, Log)) + text == "\x01" * 1_000_000


async def test_values_that_are_kept_elsewhere_weigh_little_and_are_told_by_their_places(
    report: Report, nc: Client
) -> None:
    report.value(Value(Raw(b"1")))
    report.value(Value(Raw(b"null"), [], "out/a/b/c.json"))
    report.value(Value(Raw(b"null")))
    await report.say(logs=True)
    for _ in range(8000):
        report.value(Value(Raw(b"null"), [], "k" * 130))
    values, _ = await report.rest()
    first, *more = await stored(nc)
    assert first == Output(
        id=ID, run=RUN, index=0, values=[Raw(b"1"), *[Raw(b"null")] * 2], stored={1: "out/a/b/c.json"}
    )
    assert all(len(events.encode(event)) < subjects.MAX_MESSAGE for event in more)
    assert sum(len(event.stored) for event in more if isinstance(event, Output)) + len(values) == 8000
    assert len(events.encode(Output(id=ID, run=RUN, index=0, **carried(values)))) < subjects.MAX_MESSAGE


async def test_a_run_is_said_again_when_the_stream_was_wiped(report: Report, nc: Client) -> None:
    report.started = Started(id=ID, run=RUN, at=NOW)
    for value in (b"1", b"2"):
        report.value(Value(Raw(value)))
        await report.say(logs=True)
    report.text("said")
    await report.say(logs=True)
    await wipe(nc)
    report.value(Value(Raw(b"3")))
    await report.say(logs=True)
    said = await stored(nc)  # on a busy machine a stream that is made anew at once may find what the old one had
    outputs = [event for event in said if isinstance(event, Output)]
    assert next(event for event in said if not (isinstance(event, Output) and event.index == 2)) == report.started
    assert {each.index + place: bytes(value) for each in outputs for place, value in enumerate(each.values)} == {
        0: b"1",
        1: b"2",
        2: b"3",
    }
    assert [event.text for event in said if isinstance(event, Log)] == ["said"]


async def test_many_who_miss_the_streams_make_them_once(reporter: Reporter, nc: Client) -> None:
    await wipe(nc)
    started = [Started(id=f"{ID[:-2]}{number:02}", run=RUN, at=NOW) for number in range(50)]
    await asyncio.gather(*map(reporter.say, started))
    assert len(await stored(nc)) == 50
