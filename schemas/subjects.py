"""The names of all subjects, streams and consumers, and the configuration of the streams."""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

# Crockford's alphabet in lower case: Replicate's ids look like this.
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
TAG_LENGTH: Final = 4
ID_LENGTH: Final = 26

BUILD: Final = "build"  # in the place of a version, which has 64 hex digits
TRAIN: Final = "train"  # in the same place

JOBS: Final = "JOBS"
EVENTS: Final = "EVENTS"
RECORDER: Final = "recorder"
LEASE_BUCKET: Final = "KV_INSTANCES"  # a key-value bucket: the agent that has the lease on an instance of a version
ALL_LEASES: Final = "$KV.INSTANCES.>"

MAX_MESSAGE_BYTES: Final = 900_000  # NATS allows 1 MiB, headers included
MAX_INLINE_BYTES: Final = 256_000  # of one value; a larger one travels by way of the file store

CANCELS: Final = "cancels"  # schemas.jobs.Cancel, to every agent
HELLO: Final = "runners.hello"  # a gateway asks every agent for its registration and its heartbeat
PING: Final = "runners.ping"  # a request that any one agent answers
REGISTRATIONS: Final = "runners.offers"  # schemas.models.Registration
HEARTBEATS: Final = "runners.presence"  # schemas.models.Heartbeat
RELEASES: Final = "runners.releases"  # schemas.models.Releases, from every gateway to every agent
RETIRED: Final = "runners.retired"  # schemas.models.RetiredVersions, to every agent and every gateway


@lru_cache(1000)
def job(pool: str, model: str, version: str, lane: str = "0") -> str:
    """Return the subject of a job of kind `predict`."""
    return f"jobs.{pool}.{escape(model)}.{version}.{lane}"


def jobs_of(pool: str, model: str, version: str) -> str:
    """Return the filter of a version's consumer: its jobs on all lanes."""
    return f"jobs.{pool}.{escape(model)}.{version}.*"


class Queue(NamedTuple):
    """The version, with model and pool, whose jobs wait on a subject."""

    pool: str
    model: str
    version: str


def queue_of(subject: str) -> Queue | None:
    """Parse the subject of a job; None if it is not one."""
    match subject.split("."):
        case ["jobs", pool, model, version, _]:
            return Queue(pool, unescape(model), version)
        case _:
            return None


def release(deployment: int, queue: int) -> str:
    """Return the pool of a deployment's releases that share a queue.

    No agent can be in this pool: names of pools that operators choose have no plus sign.
    """
    return f"d{deployment}+{queue}"


def service(pool: str, version: str) -> str:
    """Return what is loaded and leased as one: a version, or a version for the releases whose pool this is."""
    return f"{pool}/{version}" if "+" in pool else version


def pool_of(service: str) -> str | None:
    """Return the pool of a release; None for a version that is served in the pool of its agent."""
    return service.rpartition("/")[0] or None


def version_of(service: str) -> str:
    """Return the version of a service."""
    return service.rpartition("/")[2]


def builds(pool: str) -> str:
    """Return the subject where jobs of kind `build` wait for the agents of the pool that build."""
    return f"jobs.{pool}.-.{BUILD}.0"


def build_consumer(pool: str) -> str:
    """Return the name of the consumer that all of these agents share."""
    return f"{escape(pool)}-{BUILD}"


def trainings(pool: str) -> str:
    """Return the subject where jobs of kind `train` wait for the agents of the pool that train."""
    return f"jobs.{pool}.-.{TRAIN}.0"


def training_consumer(pool: str) -> str:
    """Return the name of the consumer that all of these agents share."""
    return f"{escape(pool)}-{TRAIN}"


def consumer(pool: str, version: str) -> str:
    """Return the name of a version's consumer; it exists only while the version is loaded somewhere."""
    return f"{escape(pool)}-{version}"


def wake(pool: str, version: str) -> str:
    """Return the subject of an empty message by which a gateway asks for a version to be loaded."""
    return f"wake.{pool}.{version}"


def more_instances(pool: str, version: str) -> str:
    """Return the subject of an empty message by which a runner with a deep queue asks the others for instances."""
    return f"runners.more.{pool}.{version}"


def lease(service: str, number: int) -> str:
    """Return the key of an instance in the bucket of leases."""
    return f"$KV.INSTANCES.{service}.{number}"


def account(id: int) -> str:
    """Return the subject of `schemas.changes.Changes` of an account, for the gateways with subscribers."""
    return f"account.{id}"


def tag(id: str) -> str:
    """Return the first characters of an id, which are the same for all ids that a gateway draws."""
    return id[:TAG_LENGTH]


def event(id: str, kind: str) -> str:
    """Return the subject of a prediction's events of a kind (`schemas.events.kind`)."""
    return f"events.{tag(id)}.{id}.{kind}"


def events_of(id: str) -> str:
    """Return the filter of all events of a prediction."""
    return event(id, ">")


def live_of(id: str) -> str:
    """Return the filter of a prediction's events as the stream republishes them once they are stored."""
    return f"live.{tag(id)}.{id}.>"


def live_of_tag(tag: str) -> str:
    """Return the filter of the republished events of all predictions with a tag."""
    return f"live.{tag}.>"


def id_of(subject: str) -> str:
    """Return the id of the prediction from an `events` or `live` subject."""
    return subject.split(".", 3)[2]


def escape(text: str) -> str:
    """Encode any text as one token of a subject: names contain dots and slashes."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else f"={ord(c):02x}" for c in text)


def unescape(token: str) -> str:
    """Decode a token that `escape` made; exact for the names that models may have, which are ASCII."""
    return re.sub("=([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), token)


def stream_configs(*, replicas: int, queue_cap: int, events_age: float, events_bytes: int) -> dict[str, dict[str, Any]]:
    """Return the configuration of both streams, as JetStream's API takes it.

    Jobs wait in a work queue with a cap per subject, which is a cap per model. Events are kept for a while, and are
    republished on `live.` once they are stored.
    """
    second = 1_000_000_000
    common: dict[str, Any] = {"storage": "file", "num_replicas": replicas, "allow_direct": True, "discard": "new"}
    return {
        JOBS: common
        | {
            "name": JOBS,
            "subjects": ["jobs.>"],
            "retention": "workqueue",
            "max_msgs_per_subject": queue_cap,
            "discard_new_per_subject": True,
            "duplicate_window": 20 * second,
            "max_consumers": 100_000,
        },
        EVENTS: common
        | {
            "name": EVENTS,
            "subjects": ["events.>"],
            "retention": "limits",
            "discard": "old",
            "max_age": int(events_age * second),
            "max_bytes": events_bytes,
            "duplicate_window": 1 * second,
            "republish": {"src": "events.>", "dest": "live.>"},
        },
    }
