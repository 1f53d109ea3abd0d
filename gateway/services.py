"""The parts of a gateway that routes use."""

import asyncio

from msgspec import Struct

from gateway.auth.authenticator import Auth
from gateway.auth.rate_limits import Limiter
from gateway.auth.sessions import Sessions
from gateway.broker import Broker
from gateway.catalog.catalog import Catalog
from gateway.cleanup.garbage import Gc
from gateway.events.account_feed import Feed
from gateway.events.follower import Follower
from gateway.events.subscriptions import Live
from gateway.files.store import Files
from gateway.files.uploads import Uploading
from gateway.fleet.deployments import Deployments as Deploying
from gateway.fleet.registry import Fleet
from gateway.ids import Capabilities
from gateway.predictions.cancellation import Cancels
from gateway.predictions.inputs import Inputs
from gateway.predictions.submit import Creator
from gateway.settings import Settings
from gateway.store.accounts import Accounts
from gateway.store.changes import Changed
from gateway.store.collections import Collections
from gateway.store.deliveries import Deliveries
from gateway.store.deployments import Deployments
from gateway.store.descriptions import Descriptions
from gateway.store.examples import Examples
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from gateway.store.search import Search
from gateway.store.secrets import WebhookSecrets
from gateway.store.tokens import Tokens
from gateway.store.uploads import Uploads
from gateway.versions.deletion import Deleting
from gateway.versions.push_results import Builds
from gateway.versions.pushes import Pushes
from gateway.versions.training_results import Results
from gateway.versions.trainings import Trainings


class Parts(Struct, frozen=True, kw_only=True):
    """What the lifespan opened."""

    settings: Settings
    auth: Auth
    limiter: Limiter
    accounts: Accounts
    tokens: Tokens
    sessions: Sessions
    capabilities: Capabilities
    catalog: Catalog
    models: Models
    descriptions: Descriptions
    examples: Examples
    collections: Collections
    search: Search
    predictions: Predictions
    creator: Creator
    follower: Follower
    live: Live
    cancels: Cancels
    broker: Broker
    fleet: Fleet
    files: Files
    inputs: Inputs
    uploads: Uploads
    uploading: Uploading
    pushes: Pushes
    builds: Builds
    trainings: Trainings
    results: Results
    deleting: Deleting
    gc: Gc
    feed: Feed
    changed: Changed
    deliveries: Deliveries
    webhook_secrets: WebhookSecrets
    webhooks_due: asyncio.Event
    deployments: Deployments
    deploying: Deploying
