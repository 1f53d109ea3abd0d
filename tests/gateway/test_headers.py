import pytest

from gateway.errors import Unprocessable
from gateway.http import headers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("respond-async", None),
        ("wait", 58.0),
        ("wait=10", 9.95),
        ("respond-async, Wait=1", 0.95),
        ("wait=60", 58.0),
        ("wait=99", 58.0),
        ("wait=x", None),
    ],
)
def test_a_preference_to_wait(header: str | None, seconds: float | None):
    assert headers.parse_prefer(header, 58.0) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("30", 30), ("30s", 30), ("5m", 300), ("1h30m45s", 5445), ("1h5", 3605)]
)
def test_a_time_span(header: str | None, seconds: float | None):
    assert headers.parse_cancel_after(header) == seconds


@pytest.mark.parametrize("header", ["", "x", "4s", "25h", "1m1h", "-5", "1.5"])
def test_a_time_span_that_is_none(header: str):
    with pytest.raises(Unprocessable, match="Cancel-After"):
        headers.parse_cancel_after(header)
