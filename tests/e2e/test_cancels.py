"""Stopping: what waits, what runs, what does not listen, and what has a deadline."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import Api


async def test_a_running_prediction_stops_within_a_second(api: Api, closed: str) -> None:
    made = await api.create("gated", {"gate": closed})
    await api.until(made["id"], lambda prediction: prediction["status"] == "processing")
    asked = time.monotonic()
    await api.cancel(made["id"])
    ended = await api.ended(made["id"])
    assert time.monotonic() - asked < 1
    assert ended["status"] == "canceled"
    assert ended["output"] is None
    assert "completed_at" in ended


async def test_a_sleep_is_interrupted(api: Api) -> None:
    made = await api.create("count", {"n": 1, "delay": 60})
    await api.until(made["id"], lambda prediction: prediction["status"] == "processing")
    await api.cancel(made["id"])
    assert (await api.ended(made["id"]))["status"] == "canceled"


async def test_one_that_does_not_listen_is_killed_and_the_next_one_runs(
    api: Api, closed: str, gate: Callable[[], Path]
) -> None:
    made = await api.create("gated", {"gate": closed, "stubborn": True})
    behind = await api.create("gated", {"gate": "/dev/null"})
    await api.until(made["id"], lambda prediction: prediction["status"] == "processing")
    asked = time.monotonic()
    await api.cancel(made["id"])
    assert (await api.ended(made["id"]))["status"] == "canceled"
    assert time.monotonic() - asked < 8
    assert (await api.ended(behind["id"]))["output"] == "through"


async def test_a_queued_prediction_never_starts(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    first = await api.create("gated", {"gate": closed})
    queued = await api.create("gated", {"gate": closed})
    await api.until(first["id"], lambda prediction: prediction["status"] == "processing")
    await api.cancel(queued["id"])
    ended = await api.ended(queued["id"])
    assert ended["status"] == "canceled"
    assert "started_at" not in ended
    assert (await api.get(first["id"]))["status"] == "processing"
    gate()
    assert (await api.ended(first["id"]))["status"] == "succeeded"


async def test_canceling_twice_or_after_the_end_changes_nothing(api: Api) -> None:
    done = await api.run("hello-world", {"text": "done"})
    assert await api.cancel(done["id"]) == done
    made = await api.create("count", {"n": 1, "delay": 60})
    await asyncio.gather(*(api.cancel(made["id"]) for _ in range(5)))
    ended = await api.ended(made["id"])
    assert await api.cancel(made["id"]) == ended


async def test_what_a_canceled_one_had_said_stays(api: Api, closed: str) -> None:
    made = await api.create("parts", {"parts": '["a", "b"]', "gate": closed})
    await api.until(made["id"], lambda prediction: "waiting" in prediction["logs"])
    await api.cancel(made["id"])
    assert "waiting at part 1" in (await api.ended(made["id"]))["logs"]


@pytest.mark.slow
async def test_a_deadline_stops_what_runs(api: Api) -> None:
    made = await api.create("count", {"n": 1, "delay": 60}, Cancel_After="5s")
    assert made["deadline"] > made["created_at"]
    ended = await api.ended(made["id"])
    assert ended["status"] == "canceled"
    assert ended["completed_at"] >= made["deadline"]


@pytest.mark.slow
async def test_a_deadline_ends_what_has_not_started(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    first = await api.create("gated", {"gate": closed})
    await api.until(first["id"], lambda prediction: prediction["status"] == "processing")
    queued = await api.create("gated", {"gate": closed}, Cancel_After="5")
    ended = await api.ended(queued["id"])
    assert ended["status"] in {"canceled", "aborted"}
    assert "started_at" not in ended
    gate()
    assert (await api.ended(first["id"]))["status"] == "succeeded"


async def test_a_wait_is_answered_when_another_client_cancels(api: Api, closed: str) -> None:
    waiting = asyncio.create_task(api.post("gated", {"gate": closed}, Prefer="wait"))
    found = await api.at_gate(closed)
    await api.cancel(found["id"])
    answer = await waiting
    assert answer.status_code == 201
    assert answer.json()["status"] == "canceled"
