"""Stopping: what waits, what runs, what does not listen, and what has a deadline."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import Api


async def test_a_running_prediction_stops_within_a_second(api: Api, closed: str) -> None:
    created = await api.create("gated", {"gate": closed})
    await api.wait_until(created["id"], lambda prediction: prediction["status"] == "processing")
    requested_at = time.monotonic()
    await api.cancel(created["id"])
    ended = await api.wait_until_final(created["id"])
    assert time.monotonic() - requested_at < 1
    assert ended["status"] == "canceled"
    assert ended["output"] is None
    assert "completed_at" in ended


async def test_a_sleep_is_interrupted(api: Api) -> None:
    created = await api.create("count", {"n": 1, "delay": 60})
    await api.wait_until(created["id"], lambda prediction: prediction["status"] == "processing")
    await api.cancel(created["id"])
    assert (await api.wait_until_final(created["id"]))["status"] == "canceled"


async def test_one_that_does_not_listen_is_killed_and_the_next_one_runs(
    api: Api, closed: str, gate: Callable[[], Path]
) -> None:
    created = await api.create("gated", {"gate": closed, "stubborn": True})
    behind = await api.create("gated", {"gate": "/dev/null"})
    await api.wait_until(created["id"], lambda prediction: prediction["status"] == "processing")
    requested_at = time.monotonic()
    await api.cancel(created["id"])
    assert (await api.wait_until_final(created["id"]))["status"] == "canceled"
    assert time.monotonic() - requested_at < 8
    assert (await api.wait_until_final(behind["id"]))["output"] == "through"


async def test_a_queued_prediction_never_starts(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    first = await api.create("gated", {"gate": closed})
    queued = await api.create("gated", {"gate": closed})
    await api.wait_until(first["id"], lambda prediction: prediction["status"] == "processing")
    await api.cancel(queued["id"])
    ended = await api.wait_until_final(queued["id"])
    assert ended["status"] == "canceled"
    assert "started_at" not in ended
    assert (await api.get(first["id"]))["status"] == "processing"
    gate()
    assert (await api.wait_until_final(first["id"]))["status"] == "succeeded"


async def test_canceling_twice_or_after_the_end_changes_nothing(api: Api) -> None:
    done = await api.run("hello-world", {"text": "done"})
    assert await api.cancel(done["id"]) == done
    created = await api.create("count", {"n": 1, "delay": 60})
    await asyncio.gather(*(api.cancel(created["id"]) for _ in range(5)))
    ended = await api.wait_until_final(created["id"])
    assert await api.cancel(created["id"]) == ended


async def test_a_canceled_prediction_keeps_its_output(api: Api, closed: str) -> None:
    created = await api.create("parts", {"parts": '["a", "b"]', "gate": closed})
    await api.wait_until(created["id"], lambda prediction: "waiting" in prediction["logs"])
    await api.cancel(created["id"])
    assert "waiting at part 1" in (await api.wait_until_final(created["id"]))["logs"]


@pytest.mark.slow
async def test_a_deadline_stops_what_runs(api: Api) -> None:
    created = await api.create("count", {"n": 1, "delay": 60}, Cancel_After="5s")
    assert created["deadline"] > created["created_at"]
    ended = await api.wait_until_final(created["id"])
    assert ended["status"] == "canceled"
    assert ended["completed_at"] >= created["deadline"]


@pytest.mark.slow
async def test_a_deadline_ends_what_has_not_started(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    first = await api.create("gated", {"gate": closed})
    await api.wait_until(first["id"], lambda prediction: prediction["status"] == "processing")
    queued = await api.create("gated", {"gate": closed}, Cancel_After="5")
    ended = await api.wait_until_final(queued["id"])
    assert ended["status"] in {"canceled", "aborted"}
    assert "started_at" not in ended
    gate()
    assert (await api.wait_until_final(first["id"]))["status"] == "succeeded"


async def test_a_wait_is_answered_when_another_client_cancels(api: Api, closed: str) -> None:
    waiting = asyncio.create_task(api.post("gated", {"gate": closed}, Prefer="wait"))
    prediction = await api.wait_until_at_gate(closed)
    await api.cancel(prediction["id"])
    answer = await waiting
    assert answer.status_code == 201
    assert answer.json()["status"] == "canceled"
