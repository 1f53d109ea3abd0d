"""What a gateway needs, opened in order: settings become connections, connections become parts."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog

from gateway import broker as brokers
from gateway import ids, metrics
from gateway.auth.authenticator import Auth
from gateway.auth.rate_limits import Limiter
from gateway.auth.sessions import Sessions
from gateway.broker import Broker, Failed
from gateway.catalog.catalog import Catalog
from gateway.cleanup.expired_uploads import Expiring
from gateway.cleanup.garbage import Gc
from gateway.cleanup.retention import Retention
from gateway.egress import client as outgoing
from gateway.events.account_feed import Feed
from gateway.events.follower import Follower
from gateway.events.large_values import Values
from gateway.events.recorder import Recorder
from gateway.events.subscriptions import Live
from gateway.files.store import Files
from gateway.files.uploads import Uploading
from gateway.fleet.deployments import Deployments as Deploying
from gateway.fleet.listener import Runners
from gateway.fleet.registry import Fleet
from gateway.ids import Capabilities
from gateway.predictions.cancellation import Cancels
from gateway.predictions.inputs import Inputs
from gateway.predictions.reconciler import Reconciler
from gateway.predictions.run_counts import RunCounts
from gateway.predictions.submit import Creator
from gateway.services import Parts
from gateway.settings import Settings
from gateway.store import connection as pools
from gateway.store.accounts import Accounts
from gateway.store.changes import Changed
from gateway.store.collections import Collections
from gateway.store.deliveries import Deliveries
from gateway.store.deployments import Deployments
from gateway.store.descriptions import Descriptions
from gateway.store.examples import Examples
from gateway.store.idempotency import Repeats
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from gateway.store.rate_limits import Allowances
from gateway.store.retention import Retention as Contents
from gateway.store.search import Search
from gateway.store.secrets import WebhookSecrets
from gateway.store.tokens import Tokens
from gateway.store.uploads import Uploads
from gateway.versions.deletion import Deleting
from gateway.versions.push_results import Builds
from gateway.versions.pushes import Pushes
from gateway.versions.training_results import Results
from gateway.versions.trainings import Trainings
from gateway.views.resources import Views
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.progress import Progress
from gateway.webhooks.sender import Retries, Webhooks
from schemas import subjects
from schemas.events import Final as FinalEvent

log = structlog.get_logger("samovar.gateway")


@asynccontextmanager
async def opened(settings: Settings, on_failure: Callable[[], None]) -> AsyncGenerator[Parts]:
    """Everything that a gateway needs, opened in order and closed in reverse."""
    streams = subjects.streams(
        replicas=settings.replicas,
        queue_cap=settings.queue_cap,
        events_age=settings.events_age,
        events_bytes=settings.events_bytes,
    )
    on_gaps: list[Callable[[], None]] = []

    def on_gap() -> None:
        for missed in on_gaps:
            missed()

    async with (
        pools.connected(settings.database_url, settings.database_connections) as pool,
        brokers.connected(settings.nats_url, on_gap) as client,
        outgoing.client(
            settings.reach, settings.webhook_timeout, ca=settings.webhook_ca, verify=settings.webhook_verify
        ) as receivers,
    ):
        feed, repeats = Feed(client), Repeats(pool)
        due = asyncio.Event()
        accounts, rows, record = Accounts(pool), Models(pool), Predictions(pool, feed.tell, due.set)
        deliveries = Deliveries(pool)
        progress, webhook_secrets = Progress(deliveries, due.set), WebhookSecrets(pool)
        if settings.token:
            await accounts.admit(settings.account, settings.token)
        capabilities = Capabilities(await accounts.secret("capabilities"))
        broker, files, uploads = Broker(client, streams), Files(settings.files_url), Uploads(pool)
        catalog = Catalog(rows, time.monotonic)
        builds = Builds(record, rows, catalog)
        results = Results(record, rows, catalog, files)
        values = Values(files)
        recorder = Recorder(client, broker, record, values, {"build": builds.recorded, "train": results.recorded})
        reconciler = Reconciler(record, broker, recorder, files)

        def on_final(event: FinalEvent, heard: bool) -> None:
            metrics.observe(event)
            reconciler.ended(event.id)
            if not heard:  # whoever heard it tells it, and what is told is recorded
                recorder.hear(event)

        live = Live(client, ids.draw_tag(), on_final, progress.heard)
        on_gaps += [live.missed, catalog.forget, reconciler.missed]
        follower = Follower(record, broker, live, recorder, values)
        fleet = Fleet(time.monotonic)
        runners = Runners(client, broker, catalog, fleet)
        released = Deployments(pool)
        deploying = Deploying(client, released, broker, fleet)
        cancels, counts = Cancels(record, broker), RunCounts(rows.count_runs)
        creator = Creator(
            record=record,
            repeats=repeats,
            tell=feed.tell_soon,
            broker=broker,
            live=live,
            follower=follower,
            recorder=recorder,
            reconciler=reconciler,
            files=files,
            warm=fleet.warm,
            count=counts.add,
            watch=progress.watch,
            expect=cancels.expect,
        )
        sending = Webhooks(
            receivers,
            settings.webhook_timeout,
            predictions=follower,
            version=catalog.kept,
            settled=results.settled,
            secrets=webhook_secrets,
            views=lambda base: Views(settings.public_url or base, capabilities, fleet.reason),
        )
        outbox = Outbox(
            deliveries,
            sending.send,
            due,
            retries=Retries(settings.webhook_retry_seconds, timedelta(hours=settings.webhook_retry_hours)),
            limit=settings.webhook_timeout,
            keep=timedelta(days=settings.webhook_log_days),
        )
        auth = Auth(accounts, time.monotonic)
        kept = {"api": settings.retention_api, "web": settings.retention_web}
        retention = Retention(Contents(pool), record, repeats, files, kept)
        pushing = Pushes(
            owners=accounts, record=record, models=rows, creator=creator, files=files, limit=settings.max_push
        )
        inputs = Inputs(settings.secrets_public_key)
        uploading = Uploading(
            uploads,
            files,
            Capabilities(await accounts.secret("downloads")),
            settings.max_upload,
            timedelta(seconds=settings.upload_expiry),
        )
        parts = Parts(
            settings=settings,
            auth=auth,
            limiter=Limiter(Allowances(pool), time.monotonic, settings.creates_per_minute, settings.others_per_minute),
            accounts=accounts,
            tokens=Tokens(pool),
            sessions=Sessions(auth.by_id, await accounts.secret("sessions"), time.time),
            capabilities=capabilities,
            catalog=catalog,
            models=rows,
            descriptions=Descriptions(pool),
            examples=Examples(pool),
            collections=Collections(pool),
            search=Search(pool),
            predictions=record,
            creator=creator,
            follower=follower,
            live=live,
            cancels=cancels,
            broker=broker,
            fleet=fleet,
            files=files,
            inputs=inputs,
            uploads=uploads,
            uploading=uploading,
            pushes=pushing,
            builds=builds,
            trainings=Trainings(
                owners=pushing, record=record, models=rows, creator=creator, inputs=inputs, uploading=uploading
            ),
            results=results,
            deleting=Deleting(
                record=record,
                models=rows,
                catalog=catalog,
                files=files,
                broker=broker,
                cancels=cancels,
                fleet=fleet,
            ),
            gc=Gc(files, rows, record, uploads),
            feed=feed,
            changed=Changed(pool),
            deliveries=deliveries,
            webhook_secrets=webhook_secrets,
            webhooks_due=due,
            deployments=released,
            deploying=deploying,
        )
        try:
            await broker.ensure()
        except Failed as error:
            log.warning("streams_not_there_yet", reason=str(error))
        await live.start()
        services = recorder.serve(), reconciler.serve(), cancels.serve(), runners.serve(), counts.serve()
        services += retention.serve(), progress.serve(), outbox.serve(), outbox.tidy(), deploying.serve()
        services += (Expiring(uploads, record, files).serve(),)
        async with running(*services, on_failure=on_failure):
            yield parts
        await counts.flush()
        await record.close()
        await feed.close()


@asynccontextmanager
async def running(*services: Coroutine[Any, Any, None], on_failure: Callable[[], None]) -> AsyncGenerator[None]:
    """Services that run until the block is left.

    One that fails takes the gateway with it: its supervisor starts another, which beats one that records nothing.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("service_failed", service=task.get_name(), exc_info=error)
            on_failure()

    tasks = [asyncio.create_task(service, name=service.__qualname__) for service in services]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
