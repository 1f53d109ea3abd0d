"""Every subject, stream and consumer name, and what the streams promise."""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

# Crockford's alphabet, lower case: the ids that Replicate draws look like these.
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
TAG_LENGTH: Final = 4
ID_LENGTH: Final = 26

BUILD: Final = "build"  # in the place of a version, which is 64 hex digits
TRAIN: Final = "train"  # the same

JOBS: Final = "JOBS"
EVENTS: Final = "EVENTS"
RECORDER: Final = "recorder"
INSTANCES: Final = "KV_INSTANCES"  # a key-value bucket: which agent has which instance of a version
INSTANCES_ALL: Final = "$KV.INSTANCES.>"

MAX_MESSAGE: Final = 900_000  # bytes; NATS stops at 1 MiB, headers included
INLINE: Final = 256_000  # bytes; what is larger travels by way of the file store

CANCELS: Final = "cancels"  # schemas.jobs.Cancel, to every agent
HELLO: Final = "runners.hello"  # a gateway asks every agent to say its offers and its presence
PING: Final = "runners.ping"  # a request that any one agent answers
OFFERS: Final = "runners.offers"  # schemas.models.Offers
PRESENCE: Final = "runners.presence"  # schemas.models.Presence
RELEASES: Final = "runners.releases"  # schemas.models.Releases, from every gateway to every agent
RETIRED: Final = "runners.retired"  # schemas.models.Retired, to every agent and every gateway


@lru_cache(1000)
def job(pool: str, model: str, version: str, lane: str = "0") -> str:
    return f"jobs.{pool}.{escape(model)}.{version}.{lane}"


def jobs_of(pool: str, model: str, version: str) -> str:
    """What a warm version's consumer listens to: all lanes."""
    return f"jobs.{pool}.{escape(model)}.{version}.*"


class Queue(NamedTuple):
    """Whose jobs wait on a subject."""

    pool: str
    model: str
    version: str


def queue_of(subject: str) -> Queue | None:
    """None for a subject that is not made like those of jobs."""
    match subject.split("."):
        case ["jobs", pool, model, version, _]:
            return Queue(pool, unescape(model), version)
        case _:
            return None


def release(deployment: int, queue: int) -> str:
    """The pool of a deployment's releases that share a queue. No agent can be of it: its names have no plus sign."""
    return f"d{deployment}+{queue}"


def service(pool: str, version: str) -> str:
    """What is loaded and claimed as one: a version, or a version for the releases whose pool this is."""
    return f"{pool}/{version}" if "+" in pool else version


def pool_of(service: str) -> str | None:
    """The pool of a release; None for a version that is served in the pool of its agent."""
    return service.rpartition("/")[0] or None


def version_of(service: str) -> str:
    return service.rpartition("/")[2]


def builds(pool: str) -> str:
    """Where jobs of kind `build` wait. Every agent of the pool that builds takes from it."""
    return f"jobs.{pool}.-.{BUILD}.0"


def builders(pool: str) -> str:
    """The name of the consumer that all of them share."""
    return f"{escape(pool)}-{BUILD}"


def trainings(pool: str) -> str:
    """Where jobs of kind `train` wait. Every agent of the pool that trains takes from it."""
    return f"jobs.{pool}.-.{TRAIN}.0"


def trainers(pool: str) -> str:
    """The name of the consumer that all of them share."""
    return f"{escape(pool)}-{TRAIN}"


def consumer(pool: str, version: str) -> str:
    """The name of a version's consumer; it exists only while the version is warm somewhere."""
    return f"{escape(pool)}-{version}"


def wake(pool: str, version: str) -> str:
    """An empty core message: somebody should load this version."""
    return f"wake.{pool}.{version}"


def more(pool: str, version: str) -> str:
    """The same, from one runner to the others: its queue is deep, and whoever has room should have it too."""
    return f"runners.more.{pool}.{version}"


def instance(service: str, number: int) -> str:
    """The key of an instance in the bucket of claims."""
    return f"$KV.INSTANCES.{service}.{number}"


def account(id: int) -> str:
    """schemas.changes.Changes of its predictions, to every gateway where somebody listens to them."""
    return f"account.{id}"


def tag(id: str) -> str:
    """The first characters of an id, drawn once by the gateway that makes it."""
    return id[:TAG_LENGTH]


def event(id: str, kind: str) -> str:
    return f"events.{tag(id)}.{id}.{kind}"


def events_of(id: str) -> str:
    return event(id, ">")


def live_of(id: str) -> str:
    """The same events, said again once they are stored."""
    return f"live.{tag(id)}.{id}.>"


def live_of_tag(tag: str) -> str:
    return f"live.{tag}.>"


def id_of(subject: str) -> str:
    """The prediction that an `events` or `live` subject speaks of."""
    return subject.split(".", 3)[2]


def escape(text: str) -> str:
    """One subject token for any text: names contain dots and slashes."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else f"={ord(c):02x}" for c in text)


def unescape(token: str) -> str:
    """Exact for the names that models may have, which are ASCII."""
    return re.sub("=([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), token)


def streams(*, replicas: int, queue_cap: int, events_age: float, events_bytes: int) -> dict[str, dict[str, Any]]:
    """The configuration of both streams, as JetStream's API takes it.

    Jobs wait in a work queue with a cap per subject, which is a cap per model. Events are kept for a while, and are
    said again on `live.` once stored.
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
