"""The sending of one webhook: its body, its signature, the request, and what follows from the answer."""

import asyncio
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import httpx
from msgspec import Struct, json, structs
from standardwebhooks import Webhook

from gateway.catalog.catalog import Version
from gateway.egress.client import EgressRefused, HostNotResolved
from gateway.store.deliveries import DeliveryState, LeasedDelivery
from gateway.views.resources import Views
from schemas.prediction import Chunks, Prediction, Status

GONE: Final = 410
MAX_WAIT_SECONDS: Final = 3600.0  # between two attempts
JITTER: Final = 0.2
MAX_REASON_LENGTH: Final = 300  # characters of a reason
CERTIFICATE_HELP: Final = "SAMOVAR_WEBHOOK_CA names certificates of your own; SAMOVAR_WEBHOOK_VERIFY=false accepts any"


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of one attempt to send a webhook."""

    seconds: float
    status: int | None = None
    error: str | None = None
    is_permanent: bool = False
    """Whether another attempt would fail in the same way."""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.error is None


class RetryPolicy(Struct, frozen=True):
    """The schedule of attempts for webhooks about the end of a prediction.

    Other webhooks get one attempt: the next one covers all that they would.
    """

    first_wait: float
    """Seconds."""
    span: timedelta
    """How long after a delivery was first due it is still sent."""

    def next_state(
        self, delivery: LeasedDelivery, outcome: Outcome, now: datetime
    ) -> tuple[DeliveryState, datetime | None]:
        """Return the state of a delivery after an attempt, and when it is sent again."""
        if outcome.is_delivered:
            return "delivered", None
        retry_at = now + timedelta(seconds=self.wait_seconds((now - delivery.since).total_seconds()))
        if delivery.event != "completed" or outcome.is_permanent or retry_at > delivery.since + self.span:
            return "failed", None
        return "pending", retry_at

    def wait_seconds(self, age: float) -> float:
        """Return how long to wait: as long as all waits before, so that they double.

        A random part of it keeps many deliveries from coming all at once.
        """
        return min(max(self.first_wait, age), MAX_WAIT_SECONDS) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


class PredictionReader(Protocol):
    """A reader of predictions as they stand now."""

    async def read(self, id: str, account: int | None = None) -> Prediction | None: ...


class SecretStore(Protocol):
    """The signing secrets of accounts."""

    async def signing_keys(self, account: int) -> list[str]: ...


class WebhookSender:
    """The sender of webhooks, used by the outbox for each attempt.

    `find_version` returns a version that still exists. `finish_training` sees to it that the version of a training
    exists before anybody is told of its end. `views` builds what clients see who call the gateway by a base URL.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        timeout: float,
        *,
        predictions: PredictionReader,
        find_version: Callable[[str], Awaitable[Version | None]],
        secrets: SecretStore,
        finish_training: Callable[[Prediction], Awaitable[Prediction]],
        views: Callable[[str], Views],
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._predictions = predictions
        self._find_version = find_version
        self._secrets = secrets
        self._finish_training = finish_training
        self._views = views

    async def send(self, delivery: LeasedDelivery) -> Outcome:
        """Make one attempt. Raises `Unavailable`: then nothing was sent."""
        p = await self._predictions.read(delivery.prediction)
        if p is None:
            return Outcome(seconds=0.0, error="the prediction does not exist any more", is_permanent=True)
        if p.kind == "train":
            p = await self._finish_training(p)
        body = encode_body(p, delivery.event, self._views(delivery.base), await self._find_version(p.version))
        return await self._post(delivery, body, await self._secrets.signing_keys(delivery.account))

    async def _post(self, delivery: LeasedDelivery, body: bytes, keys: list[str]) -> Outcome:
        """Send the request. Of the answer only the status is read."""
        started = time.perf_counter()
        status, error, is_permanent = None, None, False
        try:
            request = self._client.build_request(
                "POST", delivery.url, content=body, headers=sign_request(delivery.id, body, keys)
            )
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(request, stream=True)
                await response.aclose()
            status = response.status_code
            error, is_permanent = describe_status(status), status == GONE
        except EgressRefused as reason:
            error, is_permanent = str(reason), True
        except (TimeoutError, httpx.TimeoutException):
            error = f"no answer within {self._timeout:g} s"
        except (HostNotResolved, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as reason:
            error = describe_error(reason)
        return Outcome(seconds=time.perf_counter() - started, status=status, error=error, is_permanent=is_permanent)


def sign_request(id: str, body: bytes, keys: list[str]) -> dict[str, str]:
    """Build the headers of a webhook, signed by Standard Webhooks with every key that a receiver may know."""
    at = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "samovar",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id, at, body.decode()) for key in keys),
    }


def encode_body(p: Prediction, event: str, views: Views, version: Version | None) -> bytes:
    """Encode the resource as GET shows it; for `start` as it was then, however late the webhook is sent."""
    p = as_started(p) if event == "start" else p
    return json.encode(views.training(p) if p.kind == "train" else views.prediction(p, version))


def as_started(p: Prediction) -> Prediction:
    """Return the prediction as it was when it had just started."""
    return structs.replace(
        p,
        status=Status.PROCESSING,
        completed_at=None,
        error=None,
        metrics={},
        many=False,
        chunks=Chunks.of(),
        text=Chunks.of(),
        logged=0,
        files=(),
    )


def describe_status(status: int) -> str | None:
    """Describe an answer other than 2xx, for whoever looks for a webhook that did not arrive."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed: give the URL that it leads to"
    return f"answered {status}"


def describe_error(error: Exception) -> str:
    """Describe why a request failed, without the URL: it may contain a key."""
    cause: BaseException | None = error
    reason = str(error)
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            why = getattr(cause, "verify_message", "") or cause.reason or "TLS failed"
            return f"the TLS connection failed: {why}; {CERTIFICATE_HELP}"
        if isinstance(cause, OSError) and cause.errno is not None:
            reason = os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return (reason or type(error).__name__)[:MAX_REASON_LENGTH]
