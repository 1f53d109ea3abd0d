"""The services of a gateway that routes use: one struct for each builder of `bootstrap`."""

import asyncio

from msgspec import Struct

from gateway.auth.authenticator import Authenticator
from gateway.auth.rate_limits import RateLimiter
from gateway.auth.sessions import Sessions
from gateway.broker import Broker
from gateway.catalog.catalog import Catalog
from gateway.cleanup.garbage import GarbageCollector
from gateway.events.account_feed import AccountFeed
from gateway.events.follower import Follower
from gateway.events.live_events import LiveEvents
from gateway.files.store import FileStore
from gateway.files.uploads import UploadService
from gateway.fleet.deployments import DeploymentController
from gateway.fleet.registry import FleetRegistry
from gateway.ids import Capabilities
from gateway.predictions.cancellation import Cancellations
from gateway.predictions.inputs import InputPreparer
from gateway.predictions.submit import Submitter
from gateway.settings import Settings
from gateway.store.accounts import AccountStore
from gateway.store.changes import ChangeStore
from gateway.store.collections import CollectionStore
from gateway.store.deliveries import DeliveryStore
from gateway.store.deployments import DeploymentStore
from gateway.store.descriptions import DescriptionStore
from gateway.store.examples import ExampleStore
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from gateway.store.search import SearchStore
from gateway.store.secrets import WebhookSecretStore
from gateway.store.tokens import TokenStore
from gateway.store.uploads import UploadStore
from gateway.versions.deletion import VersionDeleter
from gateway.versions.push_results import PushResults
from gateway.versions.pushes import PushService
from gateway.versions.training_results import TrainingResults
from gateway.versions.trainings import TrainingService


class AccessServices(Struct, frozen=True, kw_only=True):
    """Accounts and tokens, authentication, rate limits and sessions."""

    account_store: AccountStore
    token_store: TokenStore
    authenticator: Authenticator
    rate_limiter: RateLimiter
    sessions: Sessions
    capabilities: Capabilities


class CatalogServices(Struct, frozen=True, kw_only=True):
    """Models and versions, their descriptions and examples, collections and search."""

    catalog: Catalog
    model_store: ModelStore
    description_store: DescriptionStore
    example_store: ExampleStore
    collection_store: CollectionStore
    search_store: SearchStore


class FileServices(Struct, frozen=True, kw_only=True):
    """The file store, uploads, and the removal of files that nothing refers to."""

    file_store: FileStore
    upload_store: UploadStore
    uploads: UploadService
    garbage_collector: GarbageCollector


class FleetServices(Struct, frozen=True, kw_only=True):
    """The broker, the runners, and the deployments on them."""

    broker: Broker
    fleet: FleetRegistry
    deployment_store: DeploymentStore
    deployments: DeploymentController


class PredictionServices(Struct, frozen=True, kw_only=True):
    """Predictions: their rows, submission, events and cancellation."""

    prediction_store: PredictionStore
    change_store: ChangeStore
    submitter: Submitter
    follower: Follower
    live_events: LiveEvents
    cancellations: Cancellations
    inputs: InputPreparer
    account_feed: AccountFeed


class VersionServices(Struct, frozen=True, kw_only=True):
    """Pushes and trainings, which make versions, and the deletion of versions."""

    pushes: PushService
    push_results: PushResults
    trainings: TrainingService
    training_results: TrainingResults
    deletion: VersionDeleter


class WebhookServices(Struct, frozen=True, kw_only=True):
    """Deliveries of webhooks, and the secrets they are signed with."""

    delivery_store: DeliveryStore
    webhook_secrets: WebhookSecretStore
    webhooks_due: asyncio.Event
    """Set when there may be a webhook to send."""


class Services(Struct, frozen=True, kw_only=True):
    """Everything that `bootstrap.open_services` opens for the routes."""

    settings: Settings
    access: AccessServices
    models: CatalogServices
    files: FileServices
    runners: FleetServices
    predictions: PredictionServices
    versions: VersionServices
    webhooks: WebhookServices
