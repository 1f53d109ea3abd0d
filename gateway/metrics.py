"""What a gateway measures: the stages of each prediction, so that a slow one explains itself."""

from datetime import datetime
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from schemas.events import Canceled, Failed, Succeeded
from schemas.events import Final as FinalEvent

BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

STAGE = Histogram(
    "samovar_stage_seconds",
    "Time that predictions spend in each stage: commit, publish, queue, wait (in the runner), run, event (to the "
    "gateway), answer (of a synchronous create, from its arrival).",
    ["stage"],
    buckets=BUCKETS,
)
CREATED = Counter("samovar_predictions_created_total", "Predictions accepted.")
ENDED = Counter("samovar_predictions_ended_total", "Predictions seen to end.", ["status"])
STREAMS = Gauge("samovar_open_streams", "Event streams that clients follow now.")
RUNNERS = Gauge("samovar_runners", "Runner hosts heard of lately.")

_stages = {name: STAGE.labels(name) for name in ("commit", "publish", "queue", "wait", "run", "event", "answer")}
_ended = {name: ENDED.labels(name) for name in ("succeeded", "failed", "canceled")}


def stage(name: str, seconds: float) -> None:
    _stages[name].observe(max(seconds, 0.0))


def observe(event: FinalEvent) -> None:
    """The stages that a runner timed; clocks of different hosts may disagree, so none goes below zero."""
    match event:
        case Succeeded():
            _ended["succeeded"].inc()
        case Failed():
            _ended["failed"].inc()
        case Canceled():
            _ended["canceled"].inc()
    if event.created_at and event.pulled_at:
        stage("queue", (event.pulled_at - event.created_at).total_seconds())
    if event.pulled_at and event.started_at:
        stage("wait", (event.started_at - event.pulled_at).total_seconds())
    if event.started_at:
        stage("run", (event.at - event.started_at).total_seconds())
    stage("event", (datetime.now(event.at.tzinfo) - event.at).total_seconds())
