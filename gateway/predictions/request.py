"""The body of a request that creates a prediction."""

from typing import Annotated, Final

import httpx
from msgspec import Meta, Raw, Struct

from gateway.egress.policy import EgressPolicy
from gateway.errors import invalid_field
from gateway.urls import Url

WEBHOOK_EVENTS: Final = ("start", "output", "logs", "completed")
UNKNOWN_WEBHOOK_EVENT: Final = f"webhook_events_filter takes {', '.join(WEBHOOK_EVENTS)}"
MAX_URL_LENGTH: Final = 2048
MAX_HOST_LENGTH: Final = 253
MAX_PORT: Final = 65535
ANYWHERE: Final = EgressPolicy(allow_private=True)
DEPRECATED: Final = Meta(extra_json_schema={"deprecated": True})
"""Marks a field that old clients send; the OpenAPI document leaves it out."""


class PredictionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that creates a prediction."""

    input: Annotated[Raw, Meta(extra_json_schema={"type": "object"})] = Raw()
    """The inputs, as the version's schema describes them: `Input` of a prediction, `TrainingInput` of a training."""
    version: str | None = None
    stream: Annotated[bool, DEPRECATED] | None = None
    webhook: Url | None = None
    """Where to send events of the prediction."""
    webhook_completed: Annotated[Url, DEPRECATED] | None = None
    webhook_events_filter: list[Annotated[str, Meta(extra_json_schema={"enum": [*WEBHOOK_EVENTS]})]] | None = None
    """Which events to send; by default `output` and `completed`."""


def parse_webhook(body: PredictionBody, policy: EgressPolicy = ANYWHERE) -> tuple[str | None, tuple[str, ...] | None]:
    """Return where a prediction's webhooks go, and for which events; None: output and completed.

    Host names are looked up when something is sent; an address that the policy forbids is refused here, too. Raises
    `InvalidInput`.
    """
    events = body.webhook_events_filter
    for event in events or ():
        if event not in WEBHOOK_EVENTS:
            raise invalid_field("webhook_events_filter", "enum", UNKNOWN_WEBHOOK_EVENT)
    for field, url in ("webhook", body.webhook), ("webhook_completed", body.webhook_completed):
        if url is not None and (reason := _url_problem(url, policy)) is not None:
            raise invalid_field(field, "format", reason)
    if body.webhook is None and body.webhook_completed is not None:
        return body.webhook_completed, ("completed",)
    return body.webhook, tuple(event for event in WEBHOOK_EVENTS if event in events) if events else None


def _url_problem(text: str, policy: EgressPolicy) -> str | None:
    """Say why webhooks cannot be sent to this URL; None: they can."""
    if not text:
        return "Must not be empty; leave the field out for no webhook"
    if len(text) > MAX_URL_LENGTH:
        return f"String length must be less than or equal to {MAX_URL_LENGTH}"
    if not text.isprintable() or " " in text:
        return "Must not contain spaces or control characters"
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").strip("[]")
    except (httpx.InvalidURL, ValueError) as error:
        return f"Does not match format 'uri': {error}"
    if url.scheme not in ("http", "https") or not host:
        return "Must be a URL that begins with https:// or http://"
    if len(host) > MAX_HOST_LENGTH or not 0 < (1 if url.port is None else url.port) <= MAX_PORT:
        return "Must have a host and a port that can be reached"
    if url.userinfo:
        return "Must not contain a user name or a password; verify the signature instead"
    return policy.refusal_by_name(url.scheme, host)
