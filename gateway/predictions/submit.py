"""Accept a prediction: commit its row and publish its job, at the same time."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Raw, json

from gateway import ids, metrics
from gateway.broker import Broker, Failed
from gateway.catalog.catalog import Version
from gateway.errors import BadToken, QueueFull, Unavailable
from gateway.events.follower import Follower
from gateway.events.recorder import Recorder
from gateway.events.subscriptions import Closing, Live
from gateway.files.store import Files
from gateway.predictions.idempotency import Sent
from gateway.predictions.job import job_of
from gateway.predictions.reconciler import Reconciler
from gateway.store.idempotency import Repeats
from gateway.store.predictions import Predictions
from schemas.changes import Change
from schemas.models import Manifest
from schemas.prediction import Prediction

log = structlog.get_logger("samovar.create")


class Creator:
    def __init__(
        self,
        *,
        record: Predictions,
        repeats: Repeats,
        tell: Callable[[Change], None],
        broker: Broker,
        live: Live,
        follower: Follower,
        recorder: Recorder,
        reconciler: Reconciler,
        files: Files,
        warm: Callable[[str], bool],
        count: Callable[[str], None],
        watch: Callable[[Prediction], None],
        expect: Callable[[datetime], None],
    ) -> None:
        self._record = record
        self._repeats = repeats
        self._tell = tell
        self._broker = broker
        self._live = live
        self._follower = follower
        self._recorder = recorder
        self._reconciler = reconciler
        self._files = files
        self._warm = warm
        self._count = count
        self._watch = watch
        self._expect = expect

    def draw(self, account: int, version: Version, *, cancel_after: float | None = None) -> Prediction:
        """Not accepted yet; its input may have to know its id."""
        now = datetime.now(UTC)
        return Prediction(
            id=ids.draw(self._live.tag),
            account=account,
            model=version.model,
            version=version.id,
            pool=version.pool,
            input=Raw(b"{}"),
            created_at=now,
            deadline=now + timedelta(seconds=cancel_after) if cancel_after is not None else None,
        )

    async def create(self, p: Prediction, version: Version) -> None:
        """Accepted: recorded, and on its way. Raises `QueueFull` or `Unavailable`: then it is not."""
        await self._accept(p, version)

    async def run(self, p: Prediction, version: Version, wait: float) -> tuple[Prediction, bool]:
        """The same, held until its end; False if that takes longer than `wait` seconds."""
        arrived = time.perf_counter()
        with self._live.listen(p.id) as ear:  # before the publish, so that nothing is missed
            await self._accept(p, version)
            try:
                async with asyncio.timeout(wait):
                    p = await self._follower.outcome(p, ear)
            except (TimeoutError, Closing):
                return p, False
        metrics.stage("answer", time.perf_counter() - arrived)
        return p, True

    async def once(self, p: Prediction, version: Version, sent: Sent) -> Prediction:
        """The same for a request that may have been sent before: then it is the prediction that the first one made."""
        while (id := await self._first(p, version, sent)) is not None:
            if (found := await self._follower.read(id, p.account)) is not None:
                return found
        return p

    def draw_build(self, account: int, manifest: Manifest) -> Prediction:
        """A push: its row's input is the manifest, its job has none."""
        return Prediction(
            id=ids.draw(self._live.tag),
            account=account,
            kind="build",
            model=f"{manifest.owner}/{manifest.name}",
            version=manifest.version,
            input=Raw(json.encode(manifest)),
            created_at=datetime.now(UTC),
        )

    async def send(self, p: Prediction, pool: str) -> None:
        """Send a push or a training, whose row is committed, on its way. Raises `QueueFull`: then its row is gone."""
        try:
            await self._submit(p, pool)
        except QueueFull:
            await self._record.remove(p.id)
            raise
        self._expect_deadline(p)

    async def _accept(self, p: Prediction, version: Version) -> None:
        self._watch(p)
        started = time.perf_counter()
        commit = self._record.create(p, version.pool)
        commit.add_done_callback(lambda _: metrics.stage("commit", time.perf_counter() - started))
        self._recorder.expect(p.id, commit)
        try:
            sequence = await self._send(p, version)
        except QueueFull:
            await commit
            await self._record.remove(p.id)
            raise
        try:
            at = await commit
        except (Unavailable, BadToken):
            if sequence is not None:
                await self._broker.discard_job(sequence)
            raise
        self._accepted(p, at)

    async def _first(self, p: Prediction, version: Version, sent: Sent) -> str | None:
        """The id of the one that was made before; None: there was none, and this one is accepted."""
        if sent.key is None:
            first = await self._repeats.lately(p.account, sent.request)
            if first is None:
                await self._accept(p, version)
            return first
        made = await self._repeats.reserve(p, version.pool, sent.key, sent.request)
        if isinstance(made, str):
            return made
        await self._accept_reserved(p, version, sent.key, made)
        return None

    async def _accept_reserved(self, p: Prediction, version: Version, key: str, at: datetime) -> None:
        """Its row is committed already: who has the key could not be told earlier."""
        try:
            await self._send(p, version)
        except QueueFull:
            await self._repeats.release(p, key)
            raise
        self._accepted(p, at)

    async def _send(self, p: Prediction, version: Version) -> int | None:
        sequence = await self._submit(p, version.pool)
        if sequence is not None and not self._warm(version.service):
            await self._broker.wake(version.pool, version.id)
        return sequence

    def _accepted(self, p: Prediction, at: datetime) -> None:
        metrics.CREATED.inc()
        self._count(p.model)
        self._expect_deadline(p)
        if p.kind == "predict":
            self._tell(_made(p, at))

    def _expect_deadline(self, p: Prediction) -> None:
        if p.deadline is not None:
            self._expect(p.deadline)

    async def _submit(self, p: Prediction, pool: str) -> int | None:
        """The job's sequence; None if the broker did not take it, and the reconciler will publish it."""
        started = time.perf_counter()
        sequence = None
        self._reconciler.submitting(p.id)
        try:
            sequence = await self._broker.submit(await job_of(p, self._files), pool)
        except Failed as error:
            log.warning("job_not_published_yet", id=p.id, reason=str(error))
            return None
        finally:
            self._reconciler.submitted(p.id, sequence)
        metrics.stage("publish", time.perf_counter() - started)
        return sequence


def _made(p: Prediction, at: datetime) -> Change:
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
