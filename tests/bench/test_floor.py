"""The floor: a broker of its own, and messages that take some time."""

from benchmarks.floor import broker


def test_a_message_through_nats_takes_microseconds() -> None:
    said: list[str] = []
    trips, publishes = broker(2, 0.05, said.append)
    assert len(trips) == len(publishes) == len(said) == 2
    assert all(10 < value < 100_000 for value in trips + publishes)
