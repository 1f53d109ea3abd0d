"""The checker finds nothing in good histories and finds each planted fault."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.faults import history
from tests.faults.checker import check
from tests.faults.history import (
    CreateAccepted,
    CreateRefused,
    CreateSent,
    CreateUnanswered,
    EventReceived,
    Line,
    PredictionRead,
    RecordRow,
    StreamOpened,
)

DONE_AT = 100.0
INPUT_TEXTS = st.text("aé\n\u2028")
ENDED = "2026-01-01T00:00:00Z"


def output_of(model: str, input: dict[str, Any]) -> Any:
    match model:
        case "samovar/count":
            return [str(i) for i in range(input["n"])]
        case "samovar/minilm":
            return [1 / math.sqrt(384)] * 384
        case _:
            return "hello " + input["text"]


def read(id: str, client: str, at: float, status: str, output: Any) -> PredictionRead:
    ended = ENDED if status == "succeeded" else None
    return PredictionRead(
        client=client, sent_at=at - 0.5, at=at, id=id, status=status, output=output, completed_at=ended
    )


def streamed(id: str, client: str, output: list[str], drops: list[int]) -> list[Line]:
    """All events, with a reconnect after each event in `drops`."""
    lines: list[Line] = [StreamOpened(client=client, at=1, id=id)]
    for i, chunk in enumerate(output):
        lines.append(
            EventReceived(client=client, at=2 + i / 1000, id=id, event="output", event_id=f"1:{i}", data=chunk)
        )
        if i in drops:
            lines.append(StreamOpened(client=client, at=2 + i / 1000, id=id, after=f"1:{i}"))
    end = EventReceived(client=client, at=DONE_AT, id=id, event="done", event_id=f"1:{len(output)}", data="{}")
    return [*lines, end]


@st.composite
def prediction_lines(draw: st.DrawFn, number: int = 0) -> list[Line]:
    """One prediction's whole history: asked, accepted, read on the way, streamed, final, recorded."""
    model = draw(st.sampled_from(["samovar/count", "samovar/minilm", "samovar/hello-world"]))
    input: dict[str, Any] = {"n": draw(st.integers(0, 12))} if model == "samovar/count" else {"text": draw(INPUT_TEXTS)}
    call, name, output = f"call{number}", f"id{number}", output_of(model, input)
    lines: list[Line] = [CreateSent(client="a", at=0, call=call, model=model, input=input, how="stream")]
    lines.append(CreateAccepted(client="a", at=1, call=call, id=name))
    if model == "samovar/count":
        for at in sorted(draw(st.lists(st.integers(2, 90), max_size=3))):
            lines.append(read(name, "b", at, "processing", output[: draw(st.integers(0, len(output)))]))
        lines += streamed(name, "a", output, draw(st.lists(st.integers(0, 12), max_size=3)))
    lines += [read(name, client, DONE_AT + 1, "succeeded", output) for client in "abc"]
    recorded = RecordRow(
        client="end",
        at=200,
        id=name,
        by="api",
        model=model,
        input=input,
        status="succeeded",
        output=output,
        completed_at=ENDED,
    )
    return [*lines, recorded, structs.replace(recorded, by="row")]


@st.composite
def histories(draw: st.DrawFn) -> list[Line]:
    """Several predictions, their lines in any order across predictions, with refusals and lost answers between."""
    remaining = [draw(prediction_lines(number)) for number in range(draw(st.integers(1, 4)))]
    rng = random.Random(draw(st.integers()))
    lines: list[Line] = []
    while remaining:
        history_lines = rng.choice(remaining)
        lines.append(history_lines.pop(0))
        if not history_lines:
            remaining.remove(history_lines)
    lines.append(CreateRefused(client="r", at=0, call="refused", status=429, detail="queue full"))
    if draw(st.booleans()):
        lines.append(CreateUnanswered(client="l", at=0, call="lost", reason="connection reset"))
        lines.append(
            RecordRow(
                client="end",
                at=0,
                id="unclaimed",
                by="api",
                model="samovar/count",
                input={"n": 1},
                status="succeeded",
                output=["0"],
                completed_at=ENDED,
            )
        )
    return lines


@given(histories())
def test_a_good_history_has_no_findings(lines: list[Line]) -> None:
    assert check(lines) == []


@given(histories(), st.data())
def test_a_lost_output_event_is_reported_wherever_it_was(lines: list[Line], data: st.DataObject) -> None:
    chunks = [i for i, line in enumerate(lines) if isinstance(line, EventReceived) and line.event == "output"]
    if chunks:
        gone = data.draw(st.sampled_from(chunks))
        assert {f.kind for f in check(lines[:gone] + lines[gone + 1 :])} == {"lost"}


@given(histories(), st.data())
def test_two_swapped_output_events_are_reported(lines: list[Line], data: st.DataObject) -> None:
    chunks = [i for i, line in enumerate(lines) if isinstance(line, EventReceived) and line.event == "output"]
    pairs = [(i, j) for i in chunks for j in chunks if i < j and _prediction_id(lines[i]) == _prediction_id(lines[j])]
    if pairs:
        i, j = data.draw(st.sampled_from(pairs))
        lines[i], lines[j] = lines[j], lines[i]
        assert {f.kind for f in check(lines)} == {"reordered"}


@given(histories(), st.data())
def test_a_repeated_output_event_is_reported(lines: list[Line], data: st.DataObject) -> None:
    chunks = [line for line in lines if isinstance(line, EventReceived) and line.event == "output"]
    if chunks:
        again = data.draw(st.sampled_from(chunks))
        at = lines.index(again)
        renamed = structs.replace(again, event_id="9:9")
        assert "repeated" in {f.kind for f in check([*lines[: at + 1], renamed, *lines[at + 1 :]])}


def _prediction_id(line: Line) -> str:
    assert isinstance(line, EventReceived)
    return line.id


INPUT = {"n": 4}
WHOLE = ["0", "1", "2", "3"]


def good_history() -> list[Line]:
    record = RecordRow(
        client="end",
        at=200,
        id="p",
        by="api",
        model="samovar/count",
        input=INPUT,
        status="succeeded",
        output=WHOLE,
        completed_at=ENDED,
    )
    return [
        CreateSent(client="a", at=0, call="c", model="samovar/count", input=INPUT, how="stream"),
        CreateAccepted(client="a", at=1, call="c", id="p"),
        read("p", "a", 2, "processing", ["0"]),
        *streamed("p", "a", WHOLE, [1]),
        read("p", "a", 101, "succeeded", WHOLE),
        read("p", "b", 102, "succeeded", WHOLE),
        record,
        structs.replace(record, by="row"),
    ]


def change_records(**changes: Any) -> Callable[[list[Line]], list[Line]]:
    def plant(lines: list[Line]) -> list[Line]:
        return [structs.replace(line, **changes) if isinstance(line, RecordRow) else line for line in lines]

    return plant


def drop_lines(kind: type[Line]) -> Callable[[list[Line]], list[Line]]:
    return lambda lines: [line for line in lines if not isinstance(line, kind)]


def add_lines(*more: Line) -> Callable[[list[Line]], list[Line]]:
    return lambda lines: [*lines, *more]


def change_done(**changes: Any) -> Callable[[list[Line]], list[Line]]:
    def plant(lines: list[Line]) -> list[Line]:
        ends = (isinstance(line, EventReceived) and line.event == "done" for line in lines)
        return [structs.replace(line, **changes) if end else line for line, end in zip(lines, ends, strict=True)]

    return plant


def set_all_outputs(output: Any) -> Callable[[list[Line]], list[Line]]:
    """Clients, stream and record agree on a wrong output."""

    def plant(lines: list[Line]) -> list[Line]:
        lines = [line for line in lines if not (isinstance(line, EventReceived) and line.data not in [*output, "{}"])]
        finals = (isinstance(line, PredictionRead | RecordRow) and line.status == "succeeded" for line in lines)
        return [structs.replace(line, output=output) if f else line for line, f in zip(lines, finals, strict=True)]

    return plant


def only_row(lines: list[Line]) -> list[Line]:
    return [line for line in lines if not (isinstance(line, RecordRow) and line.by == "api")]


def late_read(**changes: Any) -> PredictionRead:
    return structs.replace(read("p", "z", 150, "succeeded", WHOLE), **changes)


def stray_event(event: str, event_id: str | None, data: str) -> EventReceived:
    return EventReceived(client="a", at=150, id="p", event=event, event_id=event_id, data=data)


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        pytest.param(drop_lines(RecordRow), "unrecorded", id="an accepted one missing in the record"),
        pytest.param(change_records(status="processing", completed_at=None), "unfinished", id="never final"),
        pytest.param(change_records(status="failed", error="x"), "unsuccessful", id="failed"),
        pytest.param(change_records(status="canceled"), "disagreement", id="record otherwise than clients"),
        pytest.param(change_records(completed_at="2026-01-01T00:00:01Z"), "disagreement", id="final written twice"),
        pytest.param(change_records(output=["0", "1", "2"]), "incomplete", id="record cut short"),
        pytest.param(set_all_outputs(["0", "1", "3"]), "incomplete", id="all agree on a gap"),
        pytest.param(add_lines(late_read(status="failed", error="x")), "two finals", id="two finals told"),
        pytest.param(add_lines(late_read(completed_at="2026-01-01T00:00:01Z")), "two finals", id="two ends told"),
        pytest.param(add_lines(late_read(status="processing", completed_at=None)), "stale read", id="back from final"),
        pytest.param(
            add_lines(late_read(status="processing", output=["7"])), "altered", id="partial output of another run"
        ),
        pytest.param(add_lines(late_read(status="missing", output=None)), "stale read", id="404 after accepted"),
        pytest.param(add_lines(stray_event("done", "1:9", "{}")), "repeated", id="done twice"),
        pytest.param(add_lines(stray_event("output", "1:9", "3")), "repeated", id="a chunk again under a new id"),
        pytest.param(add_lines(stray_event("output", "1:0", "0")), "repeated", id="an event again under its id"),
        pytest.param(add_lines(stray_event("output", "1:9", "4")), "reordered", id="an output after done"),
        pytest.param(add_lines(stray_event("output", "1:9", "9")), "altered", id="a chunk that nobody yielded"),
        pytest.param(
            change_done(data='{"reason":"error"}'), "disagreement", id="streamed an error, recorded a success"
        ),
        pytest.param(change_done(event="output", data="3"), "dangling", id="a stream without done"),
        pytest.param(change_done(event_id=None), "altered", id="an event without an id"),
        pytest.param(
            add_lines(RecordRow(client="end", at=0, id="q", by="api", model="m", input={}, status="succeeded")),
            "invented",
            id="a row that nobody asked for",
        ),
        pytest.param(
            add_lines(RecordRow(client="end", at=0, id="p", by="api", model="m", input={}, status="failed")),
            "repeated",
            id="two rows of one id",
        ),
    ],
)
def test_a_planted_fault_is_reported(plant: Callable[[list[Line]], list[Line]], kind: str) -> None:
    assert check(good_history()) == []
    assert kind in {finding.kind for finding in check(plant(good_history()))}


def test_a_disagreement_between_api_and_row_is_reported() -> None:
    lines = [
        structs.replace(line, output=["0"]) if isinstance(line, RecordRow) and line.by == "row" else line
        for line in good_history()
    ]
    assert "disagreement" in {finding.kind for finding in check(lines)}


def test_one_way_of_reading_the_record_is_enough() -> None:
    assert check(only_row(good_history())) == []


def test_a_stream_that_was_cut_must_still_be_in_order() -> None:
    def cut(keep: set[str]) -> list[Line]:
        return [
            line
            for line in good_history()
            if not (isinstance(line, EventReceived) and (line.event == "done" or line.data not in keep))
        ]

    assert {f.kind for f in check(cut({"0", "1"}))} == {"dangling"}
    assert {f.kind for f in check(cut({"0", "2"}))} == {"dangling", "lost"}


def test_a_read_that_began_before_the_final_may_be_older() -> None:
    overlapping = structs.replace(read("p", "z", 150, "processing", ["0"]), sent_at=DONE_AT - 1)
    assert check([*good_history(), overlapping]) == []


def test_a_history_comes_back_from_disk(tmp_path: Path) -> None:
    log = history.HistoryLog(tmp_path / "history.jsonl")
    for line in good_history():
        log.append(line)
    log.close()
    assert list(history.read_history(tmp_path / "history.jsonl")) == good_history()
