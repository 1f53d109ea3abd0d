"""What a gateway measures: the stages of each prediction, so that a slow one explains itself."""

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

BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

STAGES: Final = {
    "accept": "from the request's arrival until its row and job are sent: read, and checked",
    "commit": "its row, with the others of its group",
    "publish": "its job, until the broker has it",
    "queue": "from its creation until a runner has it",
    "batch": "in the runner, until it is sent to the worker with its batch",
    "wait": "from there until user code is entered; of a runner that does not tell when it sent it, since it has it",
    "run": "in user code",
    "event": "from the end of the run until the gateway hears of it",
    "answer": "of a synchronous create, once it is accepted, until its end is known",
}


class Stages(Collector):
    """Histograms by stage. One thread writes them, so they need no locks, which took more time than the counting."""

    def __init__(self) -> None:
        self._counts = {stage: [0] * (len(BOUNDS) + 1) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)

    def observe(self, stage: str, seconds: float) -> None:
        """Clocks of different hosts may disagree, so nothing takes less than no time."""
        seconds = max(seconds, 0.0)
        self._counts[stage][bisect_left(BOUNDS, seconds)] += 1
        self._sums[stage] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        stages = "; ".join(f"{stage}: {what}" for stage, what in STAGES.items())
        family = HistogramMetricFamily("samovar_stage_seconds", f"Stages: {stages}.", labels=["stage"])
        names = [*map(str, BOUNDS), "+Inf"]
        for stage, counts in self._counts.items():
            buckets = list(zip(names, map(float, accumulate(counts)), strict=True))
            family.add_metric([stage], buckets, self._sums[stage])
        yield family


STAGE: Final = Stages()
REGISTRY.register(STAGE)
CREATED: Final = Counter("samovar_predictions_created_total", "Predictions accepted.")
ENDED: Final = Counter("samovar_predictions_ended_total", "Predictions seen to end.", ["status"])
STREAMS: Final = Gauge("samovar_open_streams", "Event streams that clients follow now.")

_ended = {kind: ENDED.labels(kind.__name__.lower()) for kind in (Succeeded, Failed, Canceled)}


def stage(name: str, seconds: float) -> None:
    STAGE.observe(name, seconds)


def accepted(scope: Any) -> None:
    """The first stage of a request's prediction is over."""
    stage("accept", time.perf_counter() - scope["arrived"])


def observe(event: FinalEvent) -> None:
    """The stages that a runner timed."""
    _ended[type(event)].inc()
    if event.created_at and event.pulled_at:
        stage("queue", (event.pulled_at - event.created_at).total_seconds())
    if event.pulled_at and event.batched_at:
        stage("batch", (event.batched_at - event.pulled_at).total_seconds())
    if event.started_at and (since := event.batched_at or event.pulled_at):
        stage("wait", (event.started_at - since).total_seconds())
    if event.started_at:
        stage("run", (event.at - event.started_at).total_seconds())
    stage("event", (datetime.now(event.at.tzinfo) - event.at).total_seconds())
