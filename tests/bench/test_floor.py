"""The floor: a broker of its own, and messages that take some time."""

from benchmarks.floor import measure_broker


def test_a_message_through_nats_takes_microseconds() -> None:
    lines: list[str] = []
    trips, publishes = measure_broker(2, 0.05, lines.append)
    assert len(trips) == len(publishes) == len(lines) == 2
    assert all(10 < value < 100_000 for value in trips + publishes)
