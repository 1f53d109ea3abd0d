"""The composition root of a gateway: settings become connections, and connections become services."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import structlog
from msgspec import Struct

from bus.client import Client
from gateway import broker as brokers
from gateway import ids
from gateway.auth.authenticator import Authenticator
from gateway.auth.rate_limits import RateLimiter
from gateway.auth.sessions import Sessions
from gateway.broker import Broker, BrokerError
from gateway.catalog.catalog import Catalog
from gateway.cleanup.expired_uploads import ExpiredUploads
from gateway.cleanup.garbage import GarbageCollector
from gateway.cleanup.retention import Retention
from gateway.egress import client as outgoing
from gateway.events.account_feed import AccountFeed
from gateway.events.event_consumer import EventConsumer
from gateway.events.follower import Follower
from gateway.events.in_flight import InFlight
from gateway.events.large_values import LargeValues
from gateway.events.live_events import LiveEvents
from gateway.events.recorder import Recorder
from gateway.files.store import FileStore
from gateway.files.uploads import UploadService
from gateway.fleet.deployments import DeploymentController
from gateway.fleet.listener import RunnerListener
from gateway.fleet.registry import FleetRegistry
from gateway.ids import Capabilities
from gateway.predictions.cancellation import Cancellations
from gateway.predictions.inputs import InputPreparer
from gateway.predictions.job import JobPublisher
from gateway.predictions.reconciler import Reconciler
from gateway.predictions.run_counts import RunCounts
from gateway.predictions.submit import Submitter
from gateway.services import (
    AccessServices,
    CatalogServices,
    FileServices,
    FleetServices,
    PredictionServices,
    Services,
    VersionServices,
    WebhookServices,
)
from gateway.settings import Settings
from gateway.store import connection as pools
from gateway.store.accounts import AccountStore
from gateway.store.changes import ChangeStore
from gateway.store.collections import CollectionStore
from gateway.store.deliveries import DeliveryStore
from gateway.store.deployments import DeploymentStore
from gateway.store.descriptions import DescriptionStore
from gateway.store.examples import ExampleStore
from gateway.store.idempotency import IdempotencyStore
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from gateway.store.rate_limits import RateLimitStore
from gateway.store.retention import RetentionStore
from gateway.store.search import SearchStore
from gateway.store.secrets import WebhookSecretStore
from gateway.store.tokens import TokenStore
from gateway.store.uploads import UploadStore
from gateway.versions.deletion import VersionDeleter
from gateway.versions.push_results import PushResults
from gateway.versions.pushes import PushService
from gateway.versions.training_results import TrainingResults
from gateway.versions.trainings import TrainingService
from gateway.views.resources import Views
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.progress import ProgressWebhooks
from gateway.webhooks.sender import RetryPolicy, WebhookSender
from schemas import subjects

log = structlog.get_logger("samovar.gateway")


Callback = Callable[[], None]


class Connections(Struct, frozen=True, kw_only=True):
    """The connections of a gateway: to its database, to its broker, and to the receivers of webhooks."""

    database: asyncpg.Pool
    nats: Client
    receivers: httpx.AsyncClient


class Stores(Struct, frozen=True, kw_only=True):
    """The rows that several builders need."""

    accounts: AccountStore
    models: ModelStore
    predictions: PredictionStore
    idempotency: IdempotencyStore
    deliveries: DeliveryStore
    uploads: UploadStore
    account_feed: AccountFeed
    webhooks_due: asyncio.Event


class VersionResults(Struct, frozen=True, kw_only=True):
    """Makers of versions from pushes and trainings that have ended."""

    pushes: PushResults
    trainings: TrainingResults


class Recording(Struct, frozen=True, kw_only=True):
    """The parts that follow the events of predictions and see to it that each ends, and that its end is recorded."""

    in_flight: InFlight
    event_consumer: EventConsumer
    reconciler: Reconciler
    follower: Follower
    live_events: LiveEvents
    webhook_progress: ProgressWebhooks


@asynccontextmanager
async def open_services(settings: Settings, on_failure: Callback) -> AsyncGenerator[Services]:
    """Open everything that a gateway needs, in order, and close it in reverse.

    `on_failure` is called when a background worker fails.
    """
    on_gap: list[Callback] = []
    async with open_connections(settings, on_gap) as connections:
        stores = build_stores(connections)
        broker, fleet = build_broker(settings, connections), FleetRegistry(time.monotonic)
        access = await build_access(settings, connections, stores)
        catalog = build_catalog(connections, stores)
        files = await build_files(settings, stores)
        results = build_results(stores, catalog, files)
        recording = build_recording(connections, broker, stores, files, results)
        on_gap += [recording.live_events.note_gap, catalog.catalog.forget, recording.reconciler.note_gap]
        fleet_services = build_fleet(connections, broker, fleet)
        predictions, run_counts = build_predictions(settings, connections, stores, files, fleet_services, recording)
        versions = build_versions(settings, stores, catalog, files, fleet_services, predictions, results)
        webhooks = build_webhooks(connections, stores)
        outbox = build_outbox(settings, connections, access, catalog, fleet, recording, results, webhooks)
        await start_events(broker, recording.live_events)
        workers = (
            recording.event_consumer.serve(),
            recording.reconciler.serve(),
            predictions.cancellations.serve(),
            RunnerListener(connections.nats, broker, catalog.catalog, fleet).serve(),
            run_counts.serve(),
            build_retention(settings, connections, stores, files).serve(),
            recording.webhook_progress.serve(),
            outbox.serve(),
            outbox.delete_old(),
            fleet_services.deployments.serve(),
            ExpiredUploads(stores.uploads, stores.predictions, files.file_store).serve(),
        )
        async with run_workers(*workers, on_failure=on_failure):
            yield Services(
                settings=settings,
                access=access,
                models=catalog,
                files=files,
                runners=fleet_services,
                predictions=predictions,
                versions=versions,
                webhooks=webhooks,
            )
        await run_counts.flush()
        await stores.predictions.close()
        await stores.account_feed.close()


@asynccontextmanager
async def open_connections(settings: Settings, on_gap: Sequence[Callback]) -> AsyncGenerator[Connections]:
    """Connect to the database and to the broker; call all of `on_gap` whenever messages may have been missed."""

    def call_all() -> None:
        for callback in on_gap:
            callback()

    async with (
        pools.open_pool(settings.database_url, settings.database_connections) as database,
        brokers.connect(settings.nats_url, call_all) as nats,
        outgoing.build_client(
            settings.egress_policy, settings.webhook_timeout, ca=settings.webhook_ca, verify=settings.webhook_verify
        ) as receivers,
    ):
        yield Connections(database=database, nats=nats, receivers=receivers)


def build_broker(settings: Settings, connections: Connections) -> Broker:
    """Build the broker, with the configuration of both JetStream streams."""
    streams = subjects.stream_configs(
        replicas=settings.replicas,
        queue_cap=settings.queue_cap,
        events_age=settings.events_age,
        events_bytes=settings.events_bytes,
    )
    return Broker(connections.nats, streams)


def build_stores(connections: Connections) -> Stores:
    """Build the stores that several parts share."""
    database, account_feed, webhooks_due = connections.database, AccountFeed(connections.nats), asyncio.Event()
    return Stores(
        accounts=AccountStore(database),
        models=ModelStore(database),
        predictions=PredictionStore(database, account_feed.publish, webhooks_due.set),
        idempotency=IdempotencyStore(database),
        deliveries=DeliveryStore(database),
        uploads=UploadStore(database),
        account_feed=account_feed,
        webhooks_due=webhooks_due,
    )


async def build_access(settings: Settings, connections: Connections, stores: Stores) -> AccessServices:
    """Build what lets clients in, and admit the token of the settings."""
    accounts = stores.accounts
    if settings.token:
        await accounts.ensure_token(settings.account, settings.token)
    authenticator = Authenticator(accounts, time.monotonic)
    allowances = RateLimitStore(connections.database)
    return AccessServices(
        account_store=accounts,
        token_store=TokenStore(connections.database),
        authenticator=authenticator,
        rate_limiter=RateLimiter(allowances, time.monotonic, settings.creates_per_minute, settings.others_per_minute),
        sessions=Sessions(
            authenticator.authenticate_token_id, await accounts.installation_secret("sessions"), time.time
        ),
        capabilities=Capabilities(await accounts.installation_secret("capabilities")),
    )


def build_catalog(connections: Connections, stores: Stores) -> CatalogServices:
    """Build what finds and describes models and versions."""
    database = connections.database
    return CatalogServices(
        catalog=Catalog(stores.models, time.monotonic),
        model_store=stores.models,
        description_store=DescriptionStore(database),
        example_store=ExampleStore(database),
        collection_store=CollectionStore(database),
        search_store=SearchStore(database),
    )


async def build_files(settings: Settings, stores: Stores) -> FileServices:
    """Build the file store and the uploads into it."""
    file_store = FileStore(settings.files_url)
    return FileServices(
        file_store=file_store,
        upload_store=stores.uploads,
        uploads=UploadService(
            stores.uploads,
            file_store,
            Capabilities(await stores.accounts.installation_secret("downloads")),
            settings.max_upload,
            timedelta(seconds=settings.upload_expiry),
        ),
        garbage_collector=GarbageCollector(file_store, stores.models, stores.predictions, stores.uploads),
    )


def build_results(stores: Stores, catalog: CatalogServices, files: FileServices) -> VersionResults:
    """Build what makes versions from pushes and trainings that have ended."""
    return VersionResults(
        pushes=PushResults(stores.predictions, stores.models, catalog.catalog),
        trainings=TrainingResults(stores.predictions, stores.models, catalog.catalog, files.file_store),
    )


def build_recording(
    connections: Connections, broker: Broker, stores: Stores, files: FileServices, results: VersionResults
) -> Recording:
    """Build what listens to the events of predictions and records how they end."""
    large_values = LargeValues(files.file_store)
    on_recorded = {"build": results.pushes.on_recorded, "train": results.trainings.on_recorded}
    in_flight = InFlight(ids.new_tag())
    recorder = Recorder(in_flight, broker, stores.predictions, large_values, on_recorded)
    live_events = LiveEvents(connections.nats, in_flight, recorder)
    return Recording(
        in_flight=in_flight,
        event_consumer=EventConsumer(connections.nats, broker, stores.predictions, in_flight, recorder),
        reconciler=Reconciler(in_flight, stores.predictions, broker, recorder, files.file_store),
        live_events=live_events,
        follower=Follower(stores.predictions, broker, in_flight, live_events, recorder, large_values),
        webhook_progress=ProgressWebhooks(in_flight, stores.deliveries, stores.webhooks_due),
    )


def build_fleet(connections: Connections, broker: Broker, fleet: FleetRegistry) -> FleetServices:
    """Build what knows the runners and the deployments on them."""
    deployment_store = DeploymentStore(connections.database)
    return FleetServices(
        broker=broker,
        fleet=fleet,
        deployment_store=deployment_store,
        deployments=DeploymentController(connections.nats, deployment_store, broker, fleet),
    )


def build_predictions(
    settings: Settings,
    connections: Connections,
    stores: Stores,
    files: FileServices,
    fleet: FleetServices,
    recording: Recording,
) -> tuple[PredictionServices, RunCounts]:
    """Build what submits, follows and cancels predictions, and counts the runs of models."""
    cancellations, run_counts = Cancellations(stores.predictions, fleet.broker), RunCounts(stores.models.add_runs)
    submitter = Submitter(
        predictions=stores.predictions,
        idempotency=stores.idempotency,
        jobs=JobPublisher(fleet.broker, files.file_store, recording.in_flight, fleet.fleet),
        in_flight=recording.in_flight,
        follower=recording.follower,
        account_feed=stores.account_feed,
        cancellations=cancellations,
        run_counts=run_counts,
    )
    services = PredictionServices(
        prediction_store=stores.predictions,
        change_store=ChangeStore(connections.database),
        submitter=submitter,
        follower=recording.follower,
        live_events=recording.live_events,
        cancellations=cancellations,
        inputs=InputPreparer(settings.secrets_public_key),
        account_feed=stores.account_feed,
    )
    return services, run_counts


def build_versions(
    settings: Settings,
    stores: Stores,
    catalog: CatalogServices,
    files: FileServices,
    fleet: FleetServices,
    predictions: PredictionServices,
    results: VersionResults,
) -> VersionServices:
    """Build what makes and deletes versions."""
    pushes = PushService(
        accounts=stores.accounts,
        predictions=stores.predictions,
        models=stores.models,
        submitter=predictions.submitter,
        files=files.file_store,
        limit=settings.max_push,
    )
    trainings = TrainingService(
        owners=pushes,
        predictions=stores.predictions,
        models=stores.models,
        submitter=predictions.submitter,
        inputs=predictions.inputs,
        uploads=files.uploads,
    )
    deletion = VersionDeleter(
        predictions=stores.predictions,
        models=stores.models,
        catalog=catalog.catalog,
        files=files.file_store,
        broker=fleet.broker,
        cancels=predictions.cancellations,
        fleet=fleet.fleet,
    )
    return VersionServices(
        pushes=pushes,
        push_results=results.pushes,
        trainings=trainings,
        training_results=results.trainings,
        deletion=deletion,
    )


def build_webhooks(connections: Connections, stores: Stores) -> WebhookServices:
    """Build what routes use of webhooks."""
    return WebhookServices(
        delivery_store=stores.deliveries,
        webhook_secrets=WebhookSecretStore(connections.database),
        webhooks_due=stores.webhooks_due,
    )


def build_outbox(
    settings: Settings,
    connections: Connections,
    access: AccessServices,
    catalog: CatalogServices,
    fleet: FleetRegistry,
    recording: Recording,
    results: VersionResults,
    webhooks: WebhookServices,
) -> Outbox:
    """Build what sends webhooks, and sends them again."""
    sender = WebhookSender(
        connections.receivers,
        settings.webhook_timeout,
        predictions=recording.follower,
        find_version=catalog.catalog.find_version,
        finish_training=results.trainings.settle,
        secrets=webhooks.webhook_secrets,
        views=lambda base: Views(settings.public_url or base, access.capabilities, fleet.waiting_reason),
    )
    return Outbox(
        webhooks.delivery_store,
        sender,
        webhooks.webhooks_due,
        retries=RetryPolicy(settings.webhook_retry_seconds, timedelta(hours=settings.webhook_retry_hours)),
        timeout=settings.webhook_timeout,
        log_age=timedelta(days=settings.webhook_log_days),
    )


def build_retention(settings: Settings, connections: Connections, stores: Stores, files: FileServices) -> Retention:
    """Build what removes the data of predictions that ended long ago."""
    seconds = {"api": settings.retention_api, "web": settings.retention_web}
    return Retention(
        RetentionStore(connections.database), stores.predictions, stores.idempotency, files.file_store, seconds
    )


async def start_events(broker: Broker, live_events: LiveEvents) -> None:
    """Make the streams if the broker has none, and subscribe to the events of this gateway's predictions."""
    try:
        await broker.ensure_streams()
    except BrokerError as error:
        log.warning("streams_not_there_yet", reason=str(error))
    await live_events.start()


@asynccontextmanager
async def run_workers(*workers: Coroutine[Any, Any, None], on_failure: Callable[[], None]) -> AsyncGenerator[None]:
    """Run background workers until the block is left.

    A worker that fails ends the gateway through `on_failure`: its supervisor starts another one, which is better than
    a gateway that records nothing.
    """

    def report_failure(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("service_failed", service=task.get_name(), exc_info=error)
            on_failure()

    tasks = [asyncio.create_task(worker, name=worker.__qualname__) for worker in workers]
    for task in tasks:
        task.add_done_callback(report_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
