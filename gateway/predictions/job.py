"""A prediction as the job that a runner receives."""

import time
from typing import Protocol

import structlog
from msgspec import Raw

from gateway import metrics
from gateway.broker import Broker, BrokerError
from gateway.events.in_flight import InFlight
from gateway.files.store import FileStore
from gateway.store.predictions import DuePrediction
from schemas import subjects
from schemas.jobs import Job
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.submit")


class Runners(Protocol):
    """The knowledge of which versions runners have loaded, by service."""

    def is_warm(self, service: str) -> bool: ...


class JobPublisher:
    """The way of a new job to the runners."""

    def __init__(self, broker: Broker, files: FileStore, in_flight: InFlight, runners: Runners) -> None:
        self._broker = broker
        self._files = files
        self._in_flight = in_flight
        self._runners = runners

    async def publish(self, p: Prediction) -> int | None:
        """Publish the job of a prediction, and wake a runner if none has its version loaded.

        Returns the job's sequence number; None if the broker did not take it: the reconciler publishes it later.
        Raises `QueueFull` or `NoFiles`.
        """
        started = time.perf_counter()
        sequence = None
        self._in_flight.begin_publishing(p.id)
        try:
            sequence = await self._broker.publish_job(await build_job(p, self._files), p.pool)
        except BrokerError as error:
            log.warning("job_not_published_yet", id=p.id, reason=str(error))
            return None
        finally:
            self._in_flight.end_publishing(p.id, sequence, self._broker.jobs_created_at)
        metrics.observe_stage("publish", time.perf_counter() - started)
        if p.kind == "predict" and not self._runners.is_warm(subjects.service(p.pool, p.version)):
            await self._broker.wake(p.pool, p.version)
        return sequence

    async def discard(self, sequence: int) -> None:
        """Delete a job that nobody should start."""
        await self._broker.discard_job(sequence)


async def build_job(p: Prediction | DuePrediction, files: FileStore, *, attempt: int = 1) -> Job:
    """Build the job of a prediction; an input too large for a message is put into the file store."""
    text, key = await files.spill_input(p.input) if p.kind != "build" else (Raw(b"null"), None)
    return Job(
        id=p.id,
        model=p.model,
        version=p.version,
        kind=p.kind,
        input=text,
        input_key=key,
        created_at=p.created_at,
        deadline=p.deadline,
        attempt=attempt,
    )
