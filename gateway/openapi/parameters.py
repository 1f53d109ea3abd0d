"""Parameters that routes read themselves, from the query or the headers."""

from typing import Final

from litestar.openapi.spec import OpenAPIType, Parameter, Schema


def query(name: str, description: str) -> Parameter:
    """Return an optional string in the query."""
    return Parameter(name=name, param_in="query", description=description, schema=Schema(type=OpenAPIType.STRING))


def header(name: str, description: str) -> Parameter:
    """Return an optional header."""
    return Parameter(name=name, param_in="header", description=description, schema=Schema(type=OpenAPIType.STRING))


CURSOR: Final = query("cursor", "The cursor in `next` or `previous` of a page.")

PREFER: Final = header("Prefer", "`wait` or `wait=n`: hold the answer until the prediction ends, for 1 to 60 seconds.")
CANCEL_AFTER: Final = header("Cancel-After", "Cancel if it has not ended by then: 30s, 5m, 1h30m45s.")
IDEMPOTENCY_KEY: Final = header(
    "Idempotency-Key", "1 to 255 characters: the same request within 24 hours returns the first prediction."
)
CREATE_HEADERS: Final = (PREFER, CANCEL_AFTER, IDEMPOTENCY_KEY)

PREDICTION_FILTERS: Final = (
    query("created_after", "Inclusive, ISO 8601."),
    query("created_before", "Inclusive, ISO 8601."),
    query("source", "`web` or `api`."),
)
MODEL_FILTERS: Final = (
    query("sort_by", "`latest_version_created_at` (default) or `model_created_at`."),
    query("sort_direction", "`desc` (default) or `asc`."),
    query("query", "Search for this phrase instead, as `QUERY /v1/models` does with its body."),
)
SEARCH_OPTIONS: Final = (
    query("query", 'Required. `-word` excludes a word, `"two words"` keeps them together, `or` matches either.'),
    query("limit", "1 to 50 models; 20 by default."),
)
DELIVERY_FILTERS: Final = (
    query("prediction", "Only deliveries of this prediction."),
    query("state", "`pending`, `delivered`, `failed` or `dropped`."),
)
OTHER_ACCOUNT: Final = query("account", "An account other than your own, for admins.")

STREAM_OPTIONS: Final = (
    query("events", "`all` adds status (while starting, with the reason), logs and metrics."),
    header("Last-Event-ID", "Resume after this event."),
)
FEED: Final = (
    header("Last-Event-ID", "Resume after this event."),
    query("last_event_id", "The same, for clients that cannot send headers."),
)
LAST_RUNNERS_EVENT: Final = header("Last-Event-ID", "Nothing is sent until this event is outdated.")
DIGEST: Final = header("Samovar-Digest", "sha256 of the body, in hex; a body that differs is refused.")
