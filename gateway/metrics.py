"""The measurements of a gateway: above all the stages of each prediction, so that a slow one explains itself."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from schemas.events import Canceled, Failed, Succeeded
from schemas.events import Final as FinalEvent

BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

STAGES: Final = {
    "accept": "from the arrival of the request until its row and job are sent: reading and checking it",
    "commit": "writing the row, together with others",
    "publish": "publishing the job, until the broker has it",
    "queue": "from the creation until a runner has the job",
    "batch": "in the runner, until the job is sent to the worker with its batch",
    "wait": "from there until user code starts; without the time of sending, since the runner has the job",
    "run": "in user code",
    "event": "from the end of the run until the gateway receives the final event",
    "answer": "of a create that waits: from its acceptance until the outcome is known",
}


class StageSeconds(Collector):
    """The histograms of the stages.

    One thread writes them, so they need no locks, which took more time than the counting.
    """

    def __init__(self) -> None:
        self._counts = {stage: [0] * (len(BUCKETS) + 1) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)

    def observe(self, stage: str, seconds: float) -> None:
        """Count how long a stage took. Clocks of different hosts may disagree: less than nothing counts as nothing."""
        seconds = max(seconds, 0.0)
        self._counts[stage][bisect_left(BUCKETS, seconds)] += 1
        self._sums[stage] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histograms for Prometheus."""
        stages = "; ".join(f"{stage}: {what}" for stage, what in STAGES.items())
        family = HistogramMetricFamily("samovar_stage_seconds", f"Stages: {stages}.", labels=["stage"])
        names = [*map(str, BUCKETS), "+Inf"]
        for stage, counts in self._counts.items():
            buckets = list(zip(names, map(float, accumulate(counts)), strict=True))
            family.add_metric([stage], buckets, self._sums[stage])
        yield family


STAGE_SECONDS: Final = StageSeconds()
REGISTRY.register(STAGE_SECONDS)
PREDICTIONS_CREATED: Final = Counter("samovar_predictions_created_total", "Predictions accepted.")
PREDICTIONS_ENDED: Final = Counter("samovar_predictions_ended_total", "Predictions seen to end.", ["status"])
OPEN_STREAMS: Final = Gauge("samovar_open_streams", "Event streams that clients follow now.")

_ended = {kind: PREDICTIONS_ENDED.labels(kind.__name__.lower()) for kind in (Succeeded, Failed, Canceled)}


def observe_stage(name: str, seconds: float) -> None:
    """Count how long a stage took."""
    STAGE_SECONDS.observe(name, seconds)


def observe_accept(scope: Any) -> None:
    """Count the first stage of a prediction, from the arrival of its request until now."""
    observe_stage("accept", time.perf_counter() - scope["arrived"])


def observe_final(event: FinalEvent) -> None:
    """Count the end of a prediction, and the stages that a runner timed."""
    _ended[type(event)].inc()
    if event.created_at and event.pulled_at:
        observe_stage("queue", (event.pulled_at - event.created_at).total_seconds())
    if event.pulled_at and event.batched_at:
        observe_stage("batch", (event.batched_at - event.pulled_at).total_seconds())
    if event.started_at and (since := event.batched_at or event.pulled_at):
        observe_stage("wait", (event.started_at - since).total_seconds())
    if event.started_at:
        observe_stage("run", (event.at - event.started_at).total_seconds())
    observe_stage("event", (datetime.now(event.at.tzinfo) - event.at).total_seconds())
