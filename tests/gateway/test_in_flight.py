"""What a gateway keeps of the predictions that it has in flight, and for how long."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from gateway.events import in_flight as module
from gateway.events.in_flight import InFlight
from gateway.events.subscriptions import Shutdown
from schemas.prediction import Prediction

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def prediction(id: str = "a", **more) -> Prediction:
    return Prediction(id=id, account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=AT, **more)


def register(in_flight: InFlight, p: Prediction) -> asyncio.Future[datetime]:
    commit = asyncio.get_running_loop().create_future()
    in_flight.register(p, commit)
    return commit


async def test_an_entry_is_dropped_once_nobody_needs_it():
    in_flight, p = InFlight("0000"), prediction(webhook="https://example.org")
    commit = register(in_flight, p)
    in_flight.begin_publishing(p.id)
    subscriber = in_flight.add_subscriber(p.id)
    in_flight.end_publishing(p.id, 1, AT)
    assert in_flight.note_event(p.id, "final") == [subscriber]
    in_flight.note_final(p.id)
    assert in_flight.keep_outcome(p)
    assert in_flight.remove_subscriber(p.id, subscriber)
    commit.set_result(AT)
    await asyncio.sleep(0)
    assert in_flight.outcome(p.id) == p
    in_flight.drop_outcome(p.id)
    assert not in_flight._entries


async def test_an_outcome_is_kept_once():
    in_flight, p = InFlight("0000"), prediction()
    assert in_flight.keep_outcome(p)
    assert not in_flight.keep_outcome(p)
    in_flight.drop_outcome(p.id)
    in_flight.note_recorded(p.id)
    assert not in_flight.keep_outcome(p)
    assert not in_flight._entries


async def test_only_so_many_predictions_are_watched_for_progress(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_WATCHED", 2)
    in_flight = InFlight("0000")
    for id in "abc":
        register(in_flight, prediction(id, webhook="https://example.org")).set_result(AT)
    await asyncio.sleep(0)
    for id in "abc":
        in_flight.note_event(id, "output")
    assert in_flight.take_progress() == {"b": "output", "c": "output"}
    for id in "bc":
        in_flight.note_event(id, "final")
    assert not in_flight._entries


async def test_progress_that_could_not_be_reported_is_reported_later():
    in_flight = InFlight("0000")
    in_flight.add_progress("a", "output")
    in_flight.return_progress(in_flight.take_progress())
    assert in_flight.has_progress.is_set()
    assert in_flight.take_progress() == {"a": "output"}


async def test_a_gap_is_for_the_subscribers_of_one_prediction_or_for_all():
    in_flight = InFlight("0000")
    one, other = in_flight.add_subscriber("a"), in_flight.add_subscriber("b")
    in_flight.note_gap("a")
    assert await one.next_events() is None
    other.notify()
    assert await other.next_events() == []
    in_flight.note_gap()
    assert await one.next_events() is None
    assert await other.next_events() is None


async def test_nobody_waits_in_a_gateway_that_stops():
    in_flight = InFlight("0000")
    before = in_flight.add_subscriber("a")
    in_flight.close()
    for subscriber in (before, in_flight.add_subscriber("a")):
        with pytest.raises(Shutdown):
            await subscriber.next_events()
