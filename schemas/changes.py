"""What gateways tell each other of predictions: that one was made, has begun, or has ended."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from schemas.prediction import Status


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction as the record has it since `at`, without what it was given and said."""

    id: str
    account: int
    at: datetime
    """When it was written, by the clock of the database."""
    model: str
    version: str
    status: Status
    created_at: datetime
    source: str = "api"
    deployment: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    metrics: dict[str, Any] = {}


class Changes(Struct, frozen=True):
    """Of one account."""

    changes: list[Change]
