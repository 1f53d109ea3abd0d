import pytest

from deploy.cli.terminal.output import format_bytes, format_duration


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(0, "0 B", id="nothing"),
        pytest.param(999, "999 B", id="bytes"),
        pytest.param(1_500, "1.5 kB", id="kilobytes"),
        pytest.param(999_900_000, "999.9 MB", id="megabytes"),
        pytest.param(50_000_000_000, "50.0 GB", id="gigabytes"),
        pytest.param(5_000_000_000_000, "5000.0 GB", id="more"),
    ],
)
def test_bytes_are_shown_as_people_read_them(size: int, expected: str) -> None:
    assert format_bytes(size) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3, "3 d")]
)
def test_durations_are_shown_in_their_largest_unit(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected
