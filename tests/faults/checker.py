"""A checker of histories: every prediction has one final state, the same for all readers, and nothing is lost.

Pure: histories in, findings out. `python -m tests.faults.checker FILE` checks one from disk.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct, json

from tests.faults import history, models
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

FINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})

Kind = Literal[
    "unrecorded",  # accepted, but not in the record
    "invented",  # recorded, but created by nobody
    "unfinished",  # accepted, but never final
    "unsuccessful",  # final, but not `succeeded`
    "two finals",  # two different final states of one prediction
    "disagreement",  # a client got something else than the record says
    "stale read",  # an older state after a final one
    "incomplete",  # an output that the model cannot have returned
    "lost",  # an output event that never came
    "repeated",
    "reordered",
    "altered",  # an output event with another content
    "dangling",  # a stream without `done`
]


class Finding(Struct, frozen=True):
    kind: Kind
    id: str
    detail: str


class Final(Struct, frozen=True):
    """A final state as a reader got it; a stream has the status only."""

    status: str
    output: Any
    error: str | None
    completed_at: str | None


def check(lines: Iterable[Line], *, must_succeed: bool = True) -> list[Finding]:
    histories = _PredictionHistories(lines)
    findings = list(histories.find_invented())
    for prediction in histories.ids():
        findings += _check_prediction(histories, prediction, must_succeed)
    return findings


class _PredictionHistories:
    """The lines of a history, by prediction."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.creates: dict[str, CreateSent] = {}
        self.calls: dict[str, str] = {}
        self.unanswered = 0
        self.reads: defaultdict[str, list[PredictionRead]] = defaultdict(list)
        self.records: defaultdict[str, list[RecordRow]] = defaultdict(list)
        self.streams: defaultdict[str, defaultdict[str, list[StreamOpened | EventReceived]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for line in lines:
            self._add(line)

    def _add(self, line: Line) -> None:
        match line:
            case CreateSent(call=call):
                self.creates[call] = line
            case CreateAccepted(call=call, id=id):
                self.calls[id] = call
            # A server error promises nothing: the row may exist.
            case CreateUnanswered(sent=True) | CreateRefused(status=500 | 502 | 503 | 504):
                self.unanswered += 1
            case PredictionRead(id=id):
                self.reads[id].append(line)
            case RecordRow(id=id):
                self.records[id].append(line)
            case StreamOpened(client=client, id=id) | EventReceived(client=client, id=id):
                self.streams[id][client].append(line)
            case _:
                pass

    def ids(self) -> list[str]:
        return sorted({*self.calls, *self.records})

    def find_invented(self) -> Iterator[Finding]:
        """Yield a finding for each row without an accepted create, beyond the number of creates without a response."""
        strangers = sorted(set(self.records) - set(self.calls))
        for stranger in strangers[self.unanswered :]:
            counts = f"{len(strangers)} rows without an accepted create, {self.unanswered} answers lost"
            yield Finding("invented", stranger, counts)


def _check_prediction(histories: _PredictionHistories, id: str, must_succeed: bool) -> Iterator[Finding]:
    reads, records = histories.reads[id], histories.records[id]
    if not records:
        yield Finding("unrecorded", id, f"accepted by call {histories.calls[id]}, not in the record")
        yield from _check_finals(id, reads)
        return
    record = records[0]
    yield from _check_records(id, records)
    yield from _check_end(record, must_succeed)
    yield from _check_finals(id, reads)
    yield from _check_reads(record, reads)
    yield from _check_freshness(id, reads, histories.streams[id])
    for client, events in histories.streams[id].items():
        yield from _check_stream(record, client, events)


def _check_records(id: str, records: list[RecordRow]) -> Iterator[Finding]:
    for by, count in Counter(record.by for record in records).items():
        if count > 1:
            yield Finding("repeated", id, f"{count} times in the record by {by}")
    first = records[0]
    for other in records[1:]:
        if _final_of(other) != _final_of(first):
            yield Finding("disagreement", id, f"record: {first.by} and {other.by} differ: {_difference(first, other)}")


def _check_end(record: RecordRow, must_succeed: bool) -> Iterator[Finding]:
    if record.status not in FINAL:
        yield Finding("unfinished", record.id, f"{record.status} in the record")
    elif record.status == "succeeded":
        if complaint := models.find_problem(record.model, record.input, record.output):
            yield Finding("incomplete", record.id, complaint)
    elif must_succeed:
        yield Finding("unsuccessful", record.id, f"{record.status}: {record.error}")


def _check_finals(id: str, reads: list[PredictionRead]) -> Iterator[Finding]:
    finals = [read for read in reads if read.status in FINAL]
    for other in finals[1:]:
        if _final_of(other) != _final_of(finals[0]):
            yield Finding("two finals", id, f"{finals[0].client} and {other.client}: {_difference(finals[0], other)}")
            return


def _check_reads(record: RecordRow, reads: list[PredictionRead]) -> Iterator[Finding]:
    """Check that a final read equals the record, and that an earlier one has a part of its output."""
    for read in reads:
        if read.status in FINAL:
            if record.status in FINAL and _final_of(read) != _final_of(record):
                yield Finding("disagreement", record.id, f"{read.client} and record: {_difference(read, record)}")
        elif record.status == "succeeded" and not _is_partial(read.output, record.output):
            yield Finding("altered", record.id, f"{read.client} read an output that the final one does not begin with")


def _is_partial(partial: Any, whole: Any) -> bool:
    if partial is None:
        return True
    return isinstance(partial, list) and isinstance(whole, list) and whole[: len(cast(list[Any], partial))] == partial


def _check_freshness(
    id: str, reads: list[PredictionRead], streams: dict[str, list[StreamOpened | EventReceived]]
) -> Iterator[Finding]:
    final_times = [read.at for read in reads if read.status in FINAL]
    final_times += [
        line.at
        for lines in streams.values()
        for line in lines
        if isinstance(line, EventReceived) and line.event == "done"
    ]
    since = min(final_times, default=float("inf"))
    for read in reads:
        if read.status == "missing":
            yield Finding("stale read", id, f"{read.client} got a 404 for an accepted prediction")
        elif read.sent_at > since and read.status not in FINAL:
            late = read.sent_at - since
            yield Finding("stale read", id, f"{read.client} read {read.status} {late:.3f} s after the final was told")


def _check_stream(record: RecordRow, client: str, lines: list[StreamOpened | EventReceived]) -> Iterator[Finding]:
    events = [line for line in lines if isinstance(line, EventReceived)]
    done = [event for event in events if event.event == "done"]
    outputs = [event.data for event in events if event.event == "output"]
    yield from _check_event_ids(record.id, client, events)
    if len(done) > 1:
        yield Finding("repeated", record.id, f"{client} was told `done` {len(done)} times")
    if done and done[0] is not events[-1]:
        yield Finding("reordered", record.id, f"{client} was told {events[-1].event} after `done`")
    if not done and record.status in FINAL:
        yield Finding("dangling", record.id, f"{client} followed and was never told `done`")
    if done and record.status in FINAL and (status := _final_status(done[0])) != record.status:
        yield Finding("disagreement", record.id, f"{client} was streamed {status}, the record says {record.status}")
    if record.status == "succeeded":
        yield from _check_outputs(record, client, outputs, whole=bool(done))


def _check_event_ids(id: str, client: str, events: list[EventReceived]) -> Iterator[Finding]:
    if nameless := [event for event in events if not event.event_id]:
        yield Finding("altered", id, f"{client} got {len(nameless)} events without an id")
    counts = Counter(event.event_id for event in events if event.event_id)
    if again := [event_id for event_id, count in counts.items() if count > 1]:
        yield Finding("repeated", id, f"{client} got event {again[0]} {counts[again[0]]} times")


def _check_outputs(record: RecordRow, client: str, got: list[str], *, whole: bool) -> Iterator[Finding]:
    expected = _expected_chunks(record)
    if got == expected or (not whole and got == expected[: len(got)]):
        return
    missing, extra = Counter(expected) - Counter(got), Counter(got) - Counter(expected)
    strange = [chunk for chunk in extra if chunk not in expected]
    if strange:
        yield Finding("altered", record.id, f"{client} was streamed {strange[0]!r}, which is not in the output")
    if any(chunk in expected for chunk in extra):
        yield Finding("repeated", record.id, f"{client} was streamed {len(got)} chunks, the output has {len(expected)}")
    if missing and (whole or not _is_prefix_of(got, expected)):
        yield Finding("lost", record.id, f"{client} was never streamed {next(iter(missing))!r}")
    if not _is_ordered(got, expected):
        yield Finding("reordered", record.id, f"{client} was streamed chunks out of order")


def _expected_chunks(record: RecordRow) -> list[str]:
    """Return the chunks of a complete stream: strings bare, the rest as JSON."""
    chunks: list[Any] = record.output if record.model in models.ITERATORS else [record.output]
    return [chunk if isinstance(chunk, str) else json.encode(chunk).decode() for chunk in chunks]


def _is_prefix_of(got: list[str], expected: list[str]) -> bool:
    return Counter(got) == Counter(expected[: len(got)])


def _is_ordered(got: list[str], expected: list[str]) -> bool:
    """Whether the first occurrences of the chunks in `got` have the order of `expected`."""
    place = {chunk: i for i, chunk in reversed(list(enumerate(expected)))}
    positions = [place[chunk] for chunk in dict.fromkeys(got) if chunk in place]
    return positions == sorted(positions)


def _final_status(done: EventReceived) -> str:
    reason = json.decode(done.data).get("reason")
    return {None: "succeeded", "error": "failed"}.get(reason, str(reason))


def _final_of(line: PredictionRead | RecordRow) -> Final:
    return Final(line.status, line.output, line.error, line.completed_at)


def _difference(one: PredictionRead | RecordRow, other: PredictionRead | RecordRow) -> str:
    names = [name for name in Final.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {_short(getattr(one, name))} / {_short(getattr(other, name))}" for name in names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"


def format_report(findings: list[Finding]) -> str:
    kinds = Counter(finding.kind for finding in findings)
    head = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common()) or "nothing found"
    return "\n".join([head, *(f"  {f.kind:12} {f.id}  {f.detail}" for f in findings[:40])])


if __name__ == "__main__":
    findings = check(history.read_history(Path(sys.argv[1])))
    print(format_report(findings))
    sys.exit(bool(findings))
