import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, json

from schemas.events import Canceled, Event, Failed, Log, Output, Run, Started, Succeeded
from schemas.prediction import Chunks, EventGap, Prediction, Status, advance, replay

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
RUN = Run(1, 1_000, "a")
LATER = Run(1, 2_000, "b")

NEW = Prediction(id="x", account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=AT)


def raw(*texts: str) -> list[Raw]:
    return [Raw(json.encode(text)) for text in texts]


def output(index: int, *texts: str, run: Run = RUN) -> Output:
    return Output(id="x", run=run, index=index, values=raw(*texts))


def decode_chunks(p: Prediction) -> list[str]:
    return [json.decode(bytes(chunk)) for chunk in p.chunks]


STARTED = Started(id="x", run=RUN, at=AT)
END = Succeeded(id="x", run=RUN, at=AT, started_at=AT, outputs=2, many=True, metrics={"predict_time": 1.0})


def test_a_prediction_starts_and_has_output_and_ends():
    p = replay(NEW, [STARTED, output(0, "a"), Log(id="x", run=RUN, offset=0, text="hm"), output(1, "b")])
    assert (p.status, decode_chunks(p), p.logs) == (Status.PROCESSING, ["a", "b"], "hm")
    p = advance(p, Succeeded(id="x", run=RUN, at=AT, outputs=2, logs=2, log="!", many=True))
    assert (p.status, bytes(p.output or b""), p.logs) == (Status.SUCCEEDED, b'["a","b"]', "hm!")


@pytest.mark.parametrize("event", [output(0, "a"), Log(id="x", run=RUN, offset=0, text="hm")], ids=["output", "log"])
def test_output_or_log_means_that_it_runs(event: Event):
    assert advance(NEW, event).status == Status.PROCESSING


def test_nothing_changes_a_final_prediction():
    p = replay(NEW, [STARTED, output(0, "a", "b"), END])
    assert advance(p, Failed(id="x", run=LATER, at=AT, error="no")) is p
    assert advance(p, output(2, "c")) is p


def test_a_final_event_alone_can_be_the_whole_prediction():
    p = advance(NEW, Succeeded(id="x", run=RUN, at=AT, started_at=AT, values=raw("hello"), log="hm"))
    assert (p.status, p.logs, p.started_at) == (Status.SUCCEEDED, "hm", AT)
    assert p.output == Raw(b'"hello"')


def test_an_iterator_that_yields_nothing_ends_with_an_empty_list():
    p = advance(NEW, Succeeded(id="x", run=RUN, at=AT, many=True))
    assert p.output == Raw(b"[]")


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(output(3, "d"), id="an output from further on"),
        pytest.param(Log(id="x", run=RUN, offset=9, text="hm"), id="a log from further on"),
        pytest.param(END, id="a final that counts on more"),
        pytest.param(Succeeded(id="x", run=LATER, at=AT, outputs=1, many=True), id="a final of another run"),
    ],
)
def test_missing_events_raise(event: Event):
    with pytest.raises(EventGap):
        replay(NEW, [STARTED, output(0, "a"), event])


def test_a_later_run_starts_over_and_an_earlier_one_counts_no_more():
    p = replay(NEW, [STARTED, output(0, "a"), output(0, "A", "B", run=LATER), output(1, "b")])
    assert (decode_chunks(p), p.run) == (["A", "B"], LATER)


def test_the_final_event_decides_which_run_counts():
    final = Succeeded(id="x", run=RUN, at=AT, outputs=1, many=True)
    p = replay(NEW, [STARTED, output(0, "a"), output(0, "A", "B", run=LATER), final])
    assert (p.status, decode_chunks(p), p.run) == (Status.SUCCEEDED, ["a"], RUN)


def test_a_prediction_canceled_before_its_start_has_no_output():
    p = replay(NEW, [STARTED, output(0, "a"), Canceled(id="x", run=None, at=AT)])
    assert (p.status, p.output, p.started_at) == (Status.CANCELED, None, None)


@given(st.lists(st.text(max_size=3), max_size=12), st.integers(0, 10**6))
def test_repeated_events_change_nothing(texts: list[str], seed: int):
    """Live and replayed events overlap: whatever comes twice, in whatever pieces, the end is the same."""
    draw = random.Random(seed)
    events: list[Event] = [STARTED]
    index = 0
    while index < len(texts):
        size = draw.randint(1, 3)
        start = draw.randint(0, index)
        events.append(output(start, *texts[start : index + size]))
        index += size
    end = Succeeded(id="x", run=RUN, at=AT, outputs=len(texts), many=True)
    p = replay(NEW, [*events, end])
    assert decode_chunks(p) == texts
    assert replay(NEW, [each for event in events for each in (event, event)] + [end, end]) == p


def test_adding_a_chunk_copies_nothing():
    first = Chunks.of(["a"])
    second = first.plus(["b"])
    assert second.storage is first.storage
    assert list(first) == ["a"]
    assert list(second) == ["a", "b"]


def test_two_continuations_of_one_list_do_not_mix():
    first = Chunks.of(["a"])
    one, other = first.plus(["b"]), first.plus(["c"])
    assert (list(one), list(other)) == (["a", "b"], ["a", "c"])


def test_runs_are_ordered_by_attempt_and_then_by_start():
    assert Run(1, 5, "z") < Run(1, 6, "a") < Run(2, 1, "a")
