"""The acceptance of a prediction: commit its row and publish its job at the same time, then answer or wait."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from msgspec import Raw, json

from gateway import ids, metrics
from gateway.catalog.catalog import Version
from gateway.errors import BadToken, QueueFull, Unavailable
from gateway.events.account_feed import AccountFeed
from gateway.events.follower import Follower
from gateway.events.in_flight import InFlight
from gateway.events.subscriptions import Shutdown
from gateway.predictions.cancellation import Cancellations
from gateway.predictions.idempotency import IdempotentRequest
from gateway.predictions.job import JobPublisher
from gateway.predictions.run_counts import RunCounts
from gateway.store.idempotency import IdempotencyStore
from gateway.store.predictions import PredictionStore
from schemas.changes import Change
from schemas.models import Manifest
from schemas.prediction import Prediction


class Submitter:
    """The acceptance of predictions, pushes and trainings, for the routes and the version services.

    All ways lead through `_accept`: a client gets a 2xx answer only once the row is committed.
    """

    def __init__(
        self,
        *,
        predictions: PredictionStore,
        idempotency: IdempotencyStore,
        jobs: JobPublisher,
        in_flight: InFlight,
        follower: Follower,
        account_feed: AccountFeed,
        cancellations: Cancellations,
        run_counts: RunCounts,
    ) -> None:
        self._predictions = predictions
        self._idempotency = idempotency
        self._jobs = jobs
        self._in_flight = in_flight
        self._follower = follower
        self._account_feed = account_feed
        self._cancellations = cancellations
        self._run_counts = run_counts

    def new_prediction(self, account: int, version: Version, *, cancel_after: float | None = None) -> Prediction:
        """Create a prediction that is not submitted yet: its input may have to contain its id."""
        now = datetime.now(UTC)
        return Prediction(
            id=ids.new_id(self._in_flight.tag),
            account=account,
            model=version.model,
            version=version.id,
            pool=version.pool,
            input=Raw(b"{}"),
            created_at=now,
            deadline=now + timedelta(seconds=cancel_after) if cancel_after is not None else None,
        )

    def new_push(self, account: int, manifest: Manifest) -> Prediction:
        """Create a push that is not submitted yet. Its row's input is the manifest; its job has none."""
        return Prediction(
            id=ids.new_id(self._in_flight.tag),
            account=account,
            kind="build",
            model=f"{manifest.owner}/{manifest.name}",
            version=manifest.version,
            input=Raw(json.encode(manifest)),
            created_at=datetime.now(UTC),
        )

    async def submit(self, p: Prediction) -> None:
        """Accept a prediction. Raises `QueueFull` or `Unavailable`: then nothing was accepted."""
        started = time.perf_counter()
        commit = self._predictions.create(p, p.pool)
        commit.add_done_callback(lambda _: metrics.observe_stage("commit", time.perf_counter() - started))
        self._in_flight.register(p, commit)
        self._announce(p, await self._accept(p, commit))

    async def submit_and_wait(self, p: Prediction, seconds: float) -> tuple[Prediction, bool]:
        """Accept a prediction and wait for its outcome. Returns its state, and whether it ended in time.

        Raises like `submit`.
        """
        started = time.perf_counter()
        with self._follower.subscribe(p.id) as subscriber:  # before the job is published, so that nothing is missed
            await self.submit(p)
            try:
                async with asyncio.timeout(seconds):
                    p = await self._follower.wait_for_outcome(p, subscriber)
            except (TimeoutError, Shutdown):
                return p, False
        metrics.observe_stage("answer", time.perf_counter() - started)
        return p, True

    async def submit_once(self, p: Prediction, request: IdempotentRequest) -> Prediction:
        """Accept a prediction, or return the one that the same request made before. Raises like `submit`."""
        while (id := await self._submit_first(p, request)) is not None:
            if (earlier := await self._follower.read(id, p.account)) is not None:
                return earlier
        return p

    async def submit_committed(self, p: Prediction) -> None:
        """Accept a push or a training whose row is committed. Raises `QueueFull`: then its row is gone."""
        await self._accept(p, _committed(p.created_at))

    async def _accept(self, p: Prediction, commit: asyncio.Future[datetime], key: str | None = None) -> datetime:
        """Publish the job while the row is being committed: afterwards both are there, or neither.

        Returns when the row was committed, by the database's clock. Raises `QueueFull`, or what the commit raises:
        then the prediction is not accepted, and the idempotency `key` that it was committed with is free again.
        """
        try:
            sequence = await self._jobs.publish(p)
        except QueueFull:
            await commit
            await self._withdraw(p, key)
            raise
        try:
            at = await commit
        except (Unavailable, BadToken):
            if sequence is not None:
                await self._jobs.discard(sequence)
            raise
        if p.deadline is not None:
            self._cancellations.note_deadline(p.deadline)
        return at

    async def _withdraw(self, p: Prediction, key: str | None) -> None:
        if key is None:
            await self._predictions.delete(p.id)
        else:
            await self._idempotency.release(p, key)

    async def _submit_first(self, p: Prediction, request: IdempotentRequest) -> str | None:
        """Return the id of the prediction that the request made before; None: there was none, and `p` is accepted."""
        if request.key is None:
            earlier = await self._idempotency.find_recent(p.account, request.digest)
            if earlier is None:
                await self.submit(p)
            return earlier
        # The row is committed with the key, before the job is published: only so it is known who has the key.
        reserved = await self._idempotency.reserve(p, p.pool, request.key, request.digest)
        if isinstance(reserved, str):
            return reserved
        self._announce(p, await self._accept(p, _committed(reserved), request.key))
        return None

    def _announce(self, p: Prediction, at: datetime) -> None:
        metrics.PREDICTIONS_CREATED.inc()
        self._run_counts.count(p.model)
        self._account_feed.publish_soon(_change(p, at))


def _committed(at: datetime) -> asyncio.Future[datetime]:
    """Make the commit of a row that has been committed already."""
    commit = asyncio.get_running_loop().create_future()
    commit.set_result(at)
    return commit


def _change(p: Prediction, at: datetime) -> Change:
    return Change(
        id=p.id,
        account=p.account,
        at=at,
        model=p.model,
        version=p.version,
        status=p.status,
        created_at=p.created_at,
        source=p.source,
        deployment=p.deployment,
    )
