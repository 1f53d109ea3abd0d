from datetime import UTC, datetime

import pytest

from deploy.cli.client.times import parse_span, parse_time
from deploy.errors import UsageError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("30s", "2026-01-31T11:59:30Z"),
        ("90min", "2026-01-31T10:30:00Z"),
        ("7d", "2026-01-24T12:00:00Z"),
        ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_since_takes_times_and_spans(typed: str, expected: str):
    assert parse_time(typed, NOW) == expected


@pytest.mark.parametrize("typed", ["", "yesterday", "7", "7 weeks", "999999d", "0001-01-01T00:00:00+14:00"])
def test_a_text_that_is_no_time_is_refused(typed: str):
    with pytest.raises(UsageError, match="2026-01-31"):
        parse_time(typed, NOW)


@pytest.mark.parametrize(("span", "seconds"), [("90s", 90), ("45m", 2_700), ("12h", 43_200), ("30d", 2_592_000)])
def test_a_time_span_is_converted_to_seconds(span: str, seconds: int) -> None:
    assert parse_span(span) == seconds


@pytest.mark.parametrize("span", ["", "0s", "1", "-1d", "1w", "1.5h", "1d2h"])
def test_a_text_that_is_no_time_span_is_refused(span: str) -> None:
    with pytest.raises(UsageError, match="--expires-in"):
        parse_span(span)
