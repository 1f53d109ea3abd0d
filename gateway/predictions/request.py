"""The body of a request that creates a prediction."""

from typing import Final

import httpx
from msgspec import Raw, Struct

from gateway.egress.policy import Reach
from gateway.errors import wrong

EVENTS: Final = ("start", "output", "logs", "completed")
UNKNOWN_EVENT: Final = f"webhook_events_filter takes {', '.join(EVENTS)}"
LONGEST_URL: Final = 2048
LONGEST_HOST: Final = 253
LAST_PORT: Final = 65535
ANYWHERE: Final = Reach(private=True)


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the endpoints that create a prediction."""

    input: Raw = Raw()
    version: str | None = None
    stream: bool | None = None
    webhook: str | None = None
    webhook_completed: str | None = None
    webhook_events_filter: list[str] | None = None


def parse_webhook(body: Body, reach: Reach = ANYWHERE) -> tuple[str | None, tuple[str, ...] | None]:
    """Where a prediction's webhooks go, and of what; None: output and completed. Raises `InvalidInput`.

    Names are looked up when something is sent; an address that is out of reach is refused here, too.
    """
    wanted = body.webhook_events_filter
    for event in wanted or ():
        if event not in EVENTS:
            raise wrong("webhook_events_filter", "enum", UNKNOWN_EVENT)
    for field, url in ("webhook", body.webhook), ("webhook_completed", body.webhook_completed):
        if url is not None and (reason := _no_receiver(url, reach)) is not None:
            raise wrong(field, "format", reason)
    if body.webhook is None and body.webhook_completed is not None:
        return body.webhook_completed, ("completed",)
    return body.webhook, tuple(event for event in EVENTS if event in wanted) if wanted else None


def _no_receiver(text: str, reach: Reach) -> str | None:
    """Why webhooks cannot be sent there."""
    if not text:
        return "Is empty; leave it out for no webhook"
    if len(text) > LONGEST_URL:
        return f"String length must be less than or equal to {LONGEST_URL}"
    if not text.isprintable() or " " in text:
        return "May have no blanks or control characters"
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").strip("[]")
    except (httpx.InvalidURL, ValueError) as error:
        return f"Does not match format 'uri': {error}"
    if url.scheme not in ("http", "https") or not host:
        return "Must be an address that begins with https:// or http://"
    if len(host) > LONGEST_HOST or not 0 < (1 if url.port is None else url.port) <= LAST_PORT:
        return "Has no host and port that could be reached"
    if url.userinfo:
        return "May have no user name or password; verify the signature instead"
    return reach.refusal_by_name(url.scheme, host)
