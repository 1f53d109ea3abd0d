"""Predictions, trainings and pushes as the API reports them while they run."""

import time
from collections.abc import Callable
from typing import Any, Final

from deploy.cli.client.api import Api

FINAL: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
MIN_POLL_SECONDS: Final = 0.05
MAX_POLL_SECONDS: Final = 2.0


def describe_status(status: dict[str, Any]) -> str:
    """Return the status of a prediction or of a status event; while it is starting, with the reason."""
    reason = status.get("reason") or status.get("starting")
    return f"{status['status']}: {reason}" if reason else status["status"]


def describe_failure(resource: dict[str, Any]) -> str:
    """Return how a prediction, training or push ended without success, and why."""
    return f"{resource['status']}: {resource.get('error') or 'the reason is unknown'}"


def wait_until_final(
    api: Api, kind: str, id: str, on_status: Callable[[str], None] = lambda status: None
) -> dict[str, Any]:
    """Wait until the record of a prediction, training or push is final, and return it.

    `kind` is the name in the API's path: predictions, trainings or pushes.
    """
    pause = MIN_POLL_SECONDS
    while True:
        resource = api.get(f"/v1/{kind}/{id}")
        if resource["status"] in FINAL:
            return resource
        on_status(describe_status(resource))
        # Only an output that cannot be streamed is polled for, as the API has no other way to it.
        time.sleep(pause)
        pause = min(pause * 2, MAX_POLL_SECONDS)
