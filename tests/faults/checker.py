"""Decides from a history whether the promises were kept: one final state each, the same for all, nothing lost.

Pure: histories in, findings out. `python -m tests.faults.checker FILE` looks at one from disk.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct, json

from tests.faults import history, models
from tests.faults.history import Accepted, Asked, Line, Lost, Opened, Read, Recorded, Refused, Streamed

FINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})

Kind = Literal[
    "unrecorded",  # accepted, but not in the record
    "invented",  # recorded, but asked for by nobody
    "unfinished",  # accepted, but never final
    "unsuccessful",  # final, but not `succeeded`
    "two finals",  # two different finals told of one prediction
    "disagreement",  # somebody was told otherwise than the record says
    "stale read",  # told an older state after a final was told
    "incomplete",  # an output that the model cannot have given
    "lost",  # an output event that never came
    "repeated",
    "reordered",
    "altered",  # an output event that says something else
    "dangling",  # a stream that never said `done`
]


class Finding(Struct, frozen=True):
    kind: Kind
    id: str
    detail: str


class Final(Struct, frozen=True):
    """A final state as somebody was told it; a stream tells the status only."""

    status: str
    output: Any
    error: str | None
    completed_at: str | None


def check(lines: Iterable[Line], *, must_succeed: bool = True) -> list[Finding]:
    said = _Said(lines)
    findings = list(said.unclaimed())
    for prediction in said.ids():
        findings += _of_one(said, prediction, must_succeed)
    return findings


class _Said:
    """A history by prediction."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.asked: dict[str, Asked] = {}
        self.calls: dict[str, str] = {}
        self.lost = 0
        self.reads: defaultdict[str, list[Read]] = defaultdict(list)
        self.records: defaultdict[str, list[Recorded]] = defaultdict(list)
        self.streams: defaultdict[str, defaultdict[str, list[Opened | Streamed]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for line in lines:
            self._add(line)

    def _add(self, line: Line) -> None:
        match line:
            case Asked(call=call):
                self.asked[call] = line
            case Accepted(call=call, id=id):
                self.calls[id] = call
            # A server error is no promise either way: the row may be there.
            case Lost(sent=True) | Refused(status=500 | 502 | 503 | 504):
                self.lost += 1
            case Read(id=id):
                self.reads[id].append(line)
            case Recorded(id=id):
                self.records[id].append(line)
            case Opened(client=client, id=id) | Streamed(client=client, id=id):
                self.streams[id][client].append(line)
            case _:
                pass

    def ids(self) -> list[str]:
        return sorted({*self.calls, *self.records})

    def unclaimed(self) -> Iterator[Finding]:
        """More strangers in the record than answers that were lost: somebody made predictions up."""
        strangers = sorted(set(self.records) - set(self.calls))
        for stranger in strangers[self.lost :]:
            counts = f"{len(strangers)} rows without an accepted create, {self.lost} answers lost"
            yield Finding("invented", stranger, counts)


def _of_one(said: _Said, id: str, must_succeed: bool) -> Iterator[Finding]:
    reads, records = said.reads[id], said.records[id]
    if not records:
        yield Finding("unrecorded", id, f"accepted by call {said.calls[id]}, not in the record")
        yield from _finals_agree(id, reads)
        return
    record = records[0]
    yield from _records_agree(id, records)
    yield from _ended(record, must_succeed)
    yield from _finals_agree(id, reads)
    yield from _reads_agree(record, reads)
    yield from _reads_are_fresh(id, reads, said.streams[id])
    for client, events in said.streams[id].items():
        yield from _streamed(record, client, events)


def _records_agree(id: str, records: list[Recorded]) -> Iterator[Finding]:
    for by, count in Counter(record.by for record in records).items():
        if count > 1:
            yield Finding("repeated", id, f"{count} times in the record by {by}")
    first = records[0]
    for other in records[1:]:
        if _final(other) != _final(first):
            yield Finding("disagreement", id, f"record: {first.by} and {other.by} differ: {_difference(first, other)}")


def _ended(record: Recorded, must_succeed: bool) -> Iterator[Finding]:
    if record.status not in FINAL:
        yield Finding("unfinished", record.id, f"{record.status} in the record")
    elif record.status == "succeeded":
        if complaint := models.complaint(record.model, record.input, record.output):
            yield Finding("incomplete", record.id, complaint)
    elif must_succeed:
        yield Finding("unsuccessful", record.id, f"{record.status}: {record.error}")


def _finals_agree(id: str, reads: list[Read]) -> Iterator[Finding]:
    finals = [read for read in reads if read.status in FINAL]
    for other in finals[1:]:
        if _final(other) != _final(finals[0]):
            yield Finding("two finals", id, f"{finals[0].client} and {other.client}: {_difference(finals[0], other)}")
            return


def _reads_agree(record: Recorded, reads: list[Read]) -> Iterator[Finding]:
    """A final read is what the record says; an earlier one is on the way there."""
    for read in reads:
        if read.status in FINAL:
            if record.status in FINAL and _final(read) != _final(record):
                yield Finding("disagreement", record.id, f"{read.client} and record: {_difference(read, record)}")
        elif record.status == "succeeded" and not _on_the_way(read.output, record.output):
            yield Finding("altered", record.id, f"{read.client} read an output that the final one does not begin with")


def _on_the_way(partial: Any, whole: Any) -> bool:
    if partial is None:
        return True
    return isinstance(partial, list) and isinstance(whole, list) and whole[: len(cast(list[Any], partial))] == partial


def _reads_are_fresh(id: str, reads: list[Read], streams: dict[str, list[Opened | Streamed]]) -> Iterator[Finding]:
    told = [read.at for read in reads if read.status in FINAL]
    told += [
        line.at for lines in streams.values() for line in lines if isinstance(line, Streamed) and line.event == "done"
    ]
    since = min(told, default=float("inf"))
    for read in reads:
        if read.status == "missing":
            yield Finding("stale read", id, f"{read.client} got a 404 for an accepted prediction")
        elif read.begun > since and read.status not in FINAL:
            late = read.begun - since
            yield Finding("stale read", id, f"{read.client} read {read.status} {late:.3f} s after the final was told")


def _streamed(record: Recorded, client: str, lines: list[Opened | Streamed]) -> Iterator[Finding]:
    events = [line for line in lines if isinstance(line, Streamed)]
    done = [event for event in events if event.event == "done"]
    outputs = [event.data for event in events if event.event == "output"]
    yield from _ids_are_new(record.id, client, events)
    if len(done) > 1:
        yield Finding("repeated", record.id, f"{client} was told `done` {len(done)} times")
    if done and done[0] is not events[-1]:
        yield Finding("reordered", record.id, f"{client} was told {events[-1].event} after `done`")
    if not done and record.status in FINAL:
        yield Finding("dangling", record.id, f"{client} followed and was never told `done`")
    if done and record.status in FINAL and (told := _told(done[0])) != record.status:
        yield Finding("disagreement", record.id, f"{client} was streamed {told}, the record says {record.status}")
    if record.status == "succeeded":
        yield from _outputs_agree(record, client, outputs, whole=bool(done))


def _ids_are_new(id: str, client: str, events: list[Streamed]) -> Iterator[Finding]:
    if nameless := [event for event in events if not event.event_id]:
        yield Finding("altered", id, f"{client} got {len(nameless)} events without an id")
    counts = Counter(event.event_id for event in events if event.event_id)
    if again := [event_id for event_id, count in counts.items() if count > 1]:
        yield Finding("repeated", id, f"{client} got event {again[0]} {counts[again[0]]} times")


def _outputs_agree(record: Recorded, client: str, got: list[str], *, whole: bool) -> Iterator[Finding]:
    expected = _as_streamed(record)
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
    if not _ordered(got, expected):
        yield Finding("reordered", record.id, f"{client} was streamed chunks out of order")


def _as_streamed(record: Recorded) -> list[str]:
    """An iterator's chunks, or the one output; strings go bare, the rest as JSON."""
    chunks: list[Any] = record.output if record.model in models.ITERATORS else [record.output]
    return [chunk if isinstance(chunk, str) else json.encode(chunk).decode() for chunk in chunks]


def _is_prefix_of(got: list[str], expected: list[str]) -> bool:
    return Counter(got) == Counter(expected[: len(got)])


def _ordered(got: list[str], expected: list[str]) -> bool:
    """The first occurrences of the chunks in `got` come in the order of `expected`."""
    place = {chunk: i for i, chunk in reversed(list(enumerate(expected)))}
    places = [place[chunk] for chunk in dict.fromkeys(got) if chunk in place]
    return places == sorted(places)


def _told(done: Streamed) -> str:
    reason = json.decode(done.data).get("reason")
    return {None: "succeeded", "error": "failed"}.get(reason, str(reason))


def _final(line: Read | Recorded) -> Final:
    return Final(line.status, line.output, line.error, line.completed_at)


def _difference(one: Read | Recorded, other: Read | Recorded) -> str:
    names = [name for name in Final.__struct_fields__ if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {_short(getattr(one, name))} / {_short(getattr(other, name))}" for name in names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"


def report(findings: list[Finding]) -> str:
    kinds = Counter(finding.kind for finding in findings)
    head = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common()) or "nothing found"
    return "\n".join([head, *(f"  {f.kind:12} {f.id}  {f.detail}" for f in findings[:40])])


if __name__ == "__main__":
    found = check(history.read(Path(sys.argv[1])))
    print(report(found))
    sys.exit(bool(found))
