"""Messages between gateways about the predictions of an account: created, started, ended."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from schemas.prediction import Status


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prediction as recorded at `at`, without its input, output and logs."""

    id: str
    account: int
    at: datetime
    """When the row was written, by the database's clock."""
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
    """Changes of predictions of one account."""

    changes: list[Change]
