"""The tests' own reader of server-sent events."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.sse import Event, Parser

STREAM = b": hi\n\nevent: output\nid: 1:0\ndata: a\ndata: b\n\nevent: done\r\nid: 1:1\r\ndata: {}\r\n\r\ndata:bare\n\n"
EVENTS = [Event("output", "1:0", "a\nb"), Event("done", "1:1", "{}"), Event("message", None, "bare")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_events_come_out_whole_wherever_the_pieces_are_cut(cuts: list[int]) -> None:
    offsets = [0, *sorted(cuts), len(STREAM)]
    parser = Parser()
    pieces = [STREAM[start:end] for start, end in pairwise(offsets)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS
