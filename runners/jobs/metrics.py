"""The metrics of a prediction: the model's own, and how long it waited and ran."""

import time
from typing import Any, Final

from msgspec import json

from runners.batching.call import Call
from runners.worker.frames import Done
from schemas.jobs import Job

MAX_METRICS_BYTES: Final = 8_000


def measure(job: Job, kind: str, pulled_at: float, call: Call | None, done: Done | None) -> dict[str, Any]:
    """Return the model's metrics and ours; of two with one name, ours counts.

    `predict_time` and `batch_size` are the worker's, where it has them. `pulled_at` is the Unix time at which the agent
    got the job.
    """
    metrics = dict(done.metrics) if done is not None else {}
    if kind == "build":
        return metrics
    ours: dict[str, Any] = {"queue_time": _duration(pulled_at - job.created_at.timestamp())}
    if call is not None and call.started_at is not None:
        ended_at = done.at if done is not None else time.time()
        ours["wait_time"] = _duration(call.started_at - pulled_at)
        ours["predict_time"] = metrics.pop("predict_time", _duration(ended_at - call.started_at))
        batch_size = metrics.pop("batch_size", call.batch_size)
        if kind == "predict":
            ours["batch_size"] = batch_size
    return {**_limited(metrics), **ours}


def _limited(metrics: dict[str, Any]) -> dict[str, Any]:
    """Drop a model's metrics that are too large for the final event, which carries them beside the output."""
    return metrics if len(json.encode(metrics)) <= MAX_METRICS_BYTES else {}


def _duration(seconds: float) -> float:
    """Round a duration; the clocks of two hosts may make it negative, which counts as 0."""
    return round(max(seconds, 0.0), 6)
