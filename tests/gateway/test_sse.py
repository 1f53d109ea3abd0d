from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, json

from gateway.events.sse import Frame, StreamEncoder, StreamPosition, parse_event_id
from schemas.events import Run
from schemas.prediction import Chunks, Prediction, Status

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def state(*texts: str, status: Status = Status.PROCESSING, run: int = 1, many: bool = True, **more) -> Prediction:
    chunks = Chunks.of(Raw(json.encode(text)) for text in texts)
    return Prediction(
        id="x",
        account=1,
        model="a/b",
        version="v",
        input=Raw(b"{}"),
        created_at=AT,
        status=status,
        run=Run(1, run, "a"),
        many=many,
        chunks=chunks,
        **more,
    )


def new_encoder(last_event_id: str | None = None, *, all_events: bool = False) -> StreamEncoder:
    return StreamEncoder(
        parse_event_id(last_event_id), lambda _, chunk: json.decode(bytes(chunk)).encode(), all_events=all_events
    )


def parse(content: bytes) -> list[tuple[str, str, str]]:
    """(event, id, data), read as the specification of EventSource says."""
    frames = []
    for block in content.decode().split("\n\n")[:-1]:
        lines = [line.partition(": ") for line in block.split("\n")]
        data = "\n".join(value for name, _, value in lines if name == "data")
        frames.append((lines[0][2], lines[1][2], data))
    return frames


def events_of(content: bytes) -> list[tuple[str, str]]:
    return [(event, data) for event, _, data in parse(content)]


def test_a_client_gets_what_it_lacks_and_then_the_end():
    client = new_encoder()
    assert events_of(client.encode(state("a"))) == [("output", "a")]
    assert client.encode(state("a")) == b""
    assert events_of(client.encode(state("a", "b", status=Status.SUCCEEDED))) == [("output", "b"), ("done", "{}")]
    assert client.position.is_over


@pytest.mark.parametrize(
    ("last", "frames"),
    [
        pytest.param(state(status=Status.SUCCEEDED), [("done", "{}")], id="nothing to say"),
        pytest.param(state(status=Status.CANCELED), [("done", '{"reason":"canceled"}')], id="canceled"),
        pytest.param(
            state("a", status=Status.FAILED, error="no"),
            [("output", "a"), ("error", '{"detail":"no"}'), ("done", '{"reason":"error"}')],
            id="failed",
        ),
        pytest.param(
            state("one", status=Status.SUCCEEDED, many=False), [("output", "one"), ("done", "{}")], id="a single value"
        ),
    ],
)
def test_every_end_has_its_frames(last: Prediction, frames: list[tuple[str, str]]):
    assert events_of(new_encoder().encode(last)) == frames


def test_a_single_value_is_not_sent_before_the_end():
    assert new_encoder().encode(state("one", many=False)) == b""


@given(st.lists(st.text(max_size=4), max_size=6), st.data())
def test_a_client_that_comes_back_gets_the_rest(texts: list[str], data: st.DataObject):
    """From any event on, with any gateway: what it had and what it gets is what there is."""
    last = state(*texts, status=Status.FAILED, error="no")
    whole = parse(new_encoder().encode(last))
    cut = data.draw(st.integers(1, len(whole)))
    rest = parse(new_encoder(whole[cut - 1][1]).encode(last))
    assert (whole[:cut] + rest)[: len(whole)] == whole
    assert rest[-1][0] == "done"


def test_every_event_has_an_id_and_ids_increase():
    ids = [id for _, id, _ in parse(new_encoder().encode(state("a", "b", status=Status.FAILED, error="no")))]
    assert len(set(ids)) == len(ids)
    positions = [parse_event_id(id).outputs for id in ids]
    assert all(one <= other for one, other in pairwise(positions))


def test_another_run_with_the_same_output_continues_where_the_client_was():
    client = new_encoder()
    client.encode(state("a", "b"))
    assert client.encode(state("a", run=2)) == b""
    assert events_of(client.encode(state("a", "b", "c", run=2, status=Status.SUCCEEDED))) == [
        ("output", "c"),
        ("done", "{}"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(state("a", "x", "c", run=2), id="a difference"),
        pytest.param(state("a", run=2, status=Status.SUCCEEDED), id="an earlier end"),
    ],
)
def test_another_run_that_came_out_differently_ends_in_an_error(other: Prediction):
    client = new_encoder()
    client.encode(state("a", "b"))
    assert [event for event, _ in events_of(client.encode(other))] == ["error", "done"]
    assert client.position.is_over


def test_a_client_of_all_events_is_told_of_a_restart():
    client = new_encoder(all_events=True)
    client.encode(state("a", "b", text=Chunks.of(["log"]), logged=3))
    frames = events_of(client.encode(state("x", run=2)))
    assert [event for event, _ in frames] == ["restarted", "status", "output"]
    assert frames[-1] == ("output", "x")


def test_all_events_include_status_logs_and_metrics():
    last = state("a", status=Status.SUCCEEDED, text=Chunks.of(["he", "y\n"]), logged=4, metrics={"tokens": 2})
    assert events_of(new_encoder(all_events=True).encode(last)) == [
        ("status", '{"status":"succeeded"}'),
        ("logs", "hey\n"),
        ("output", "a"),
        ("metrics", '{"tokens":2}'),
        ("done", "{}"),
    ]


def test_the_status_says_why_a_prediction_is_starting_and_repeats_it_on_a_change():
    reasons = ["queued", "loading", "loading", "unheard"]
    client = StreamEncoder(
        parse_event_id(None), lambda _, chunk: bytes(chunk), all_events=True, starting_reason=lambda: reasons.pop(0)
    )
    waiting = state(status=Status.STARTING, many=False)
    events = [events_of(client.encode(waiting)) for _ in range(3)]
    assert events == [
        [("status", '{"status":"starting","reason":"queued"}')],
        [("status", '{"status":"starting","reason":"loading"}')],
        [],
    ]
    assert events_of(client.encode(state())) == [("status", '{"status":"processing"}')]
    assert reasons == ["unheard"]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\rb"])
def test_every_line_gets_its_own_data_field(text: str):
    assert Frame("output", "1", text.encode()).encode() == b"event: output\nid: 1\ndata: a\ndata: b\n\n"


@pytest.mark.parametrize("id", ["", "7", "1767603600:0", "x:y-z", "1:2-ff\n", "9" * 40 + ":1-0"])
def test_an_id_that_is_not_ours_starts_from_the_beginning(id: str):
    assert parse_event_id(id) == StreamPosition()
