from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deploy.cli.client.sse import Event, Parser

STREAM = (
    ": welcome\n\nevent: output\nid: 1:1-a\ndata: Hel\n\nevent: output\r\nid: 1:2-b\r\ndata: lo\r\ndata: wörld\r\n\r\n"
    "id: 1:2-c\revent: output\rdata: \u2028\x0b\x85 end\r\rdata\n\nevent: done\nid: 1:2-d\ndata: {}\n\n"
).encode()
EVENTS = [
    Event("output", "1:1-a", "Hel"),
    Event("output", "1:2-b", "lo\nwörld"),
    Event("output", "1:2-c", "\u2028\x0b\x85 end"),
    Event("message", "1:2-c", ""),
    Event("done", "1:2-d", "{}"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    offsets = [0, *sorted(cuts), len(STREAM)]
    parser = Parser()
    pieces = [STREAM[start:end] for start, end in pairwise(offsets)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_half_an_event_is_none() -> None:
    parser = Parser()
    assert list(parser.feed(b"event: output\ndata: a\n")) == []


def test_the_last_id_outlives_the_connection() -> None:
    parser = Parser("7:7-f")
    assert parser.last_id == "7:7-f"
    assert list(parser.feed(b"data: a\n\n")) == [Event("message", "7:7-f", "a")]
