"""One webhook: its body, its signature, the request, and what is to be done after it."""

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
from gateway.egress.client import NoAddress, Refused
from gateway.store.deliveries import State, Taken
from gateway.views.resources import Views
from schemas.prediction import Chunks, Prediction, Status

GONE: Final = 410
LONGEST: Final = 3600.0  # seconds between tries
JITTER: Final = 0.2
SPOKEN: Final = 300  # characters of a reason
CERTIFICATE: Final = (
    "SAMOVAR_WEBHOOK_CA names certificates of your own, and with SAMOVAR_WEBHOOK_VERIFY=false any is taken"
)


class Outcome(Struct, frozen=True, kw_only=True):
    seconds: float
    status: int | None = None
    error: str | None = None
    for_good: bool = False
    """It would be the same at the next try."""

    @property
    def delivered(self) -> bool:
        return self.error is None


class Retries(Struct, frozen=True):
    """Of webhooks that tell of an end; others get one try, as the next one says all that they would."""

    first: float
    span: timedelta

    def after(self, taken: Taken, outcome: Outcome, now: datetime) -> tuple[State, datetime | None]:
        """What becomes of a delivery, and when it is sent again."""
        if outcome.delivered:
            return "delivered", None
        again = now + timedelta(seconds=self.wait((now - taken.since).total_seconds()))
        if taken.event != "completed" or outcome.for_good or again > taken.since + self.span:
            return "failed", None
        return "pending", again

    def wait(self, age: float) -> float:
        """As long as all waits before it, so that they double; not quite, so that many do not come all at once."""
        return min(max(self.first, age), LONGEST) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


class Predictions(Protocol):
    async def read(self, id: str, account: int | None = None) -> Prediction | None: ...


class Secrets(Protocol):
    async def keys(self, account: int) -> list[str]: ...


class Webhooks:
    """`views` is what clients see who call the gateway by that base; `version` finds one that is still there."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        limit: float,
        *,
        predictions: Predictions,
        version: Callable[[str], Awaitable[Version | None]],
        secrets: Secrets,
        settled: Callable[[Prediction], Awaitable[Prediction]],
        views: Callable[[str], Views],
    ) -> None:
        self._client = client
        self._limit = limit
        self._predictions = predictions
        self._version = version
        self._secrets = secrets
        self._settled = settled
        self._views = views

    async def send(self, taken: Taken) -> Outcome:
        """One attempt. Raises `Unavailable`: then nothing was sent."""
        p = await self._predictions.read(taken.prediction)
        if p is None:
            return Outcome(seconds=0.0, error="the prediction is not there any more", for_good=True)
        if p.kind == "train":  # its version is there before anybody is told
            p = await self._settled(p)
        body = content(p, taken.event, self._views(taken.base), await self._version(p.version))
        return await self._post(taken, body, await self._secrets.keys(taken.account))

    async def _post(self, taken: Taken, body: bytes, keys: list[str]) -> Outcome:
        """What a receiver says beside its status is not read."""
        started = time.perf_counter()
        status, error, for_good = None, None, False
        try:
            request = self._client.build_request("POST", taken.url, content=body, headers=headers(taken.id, body, keys))
            async with asyncio.timeout(self._limit):
                response = await self._client.send(request, stream=True)
                await response.aclose()
            status = response.status_code
            error, for_good = refusal(status), status == GONE
        except Refused as reason:
            error, for_good = str(reason), True
        except (TimeoutError, httpx.TimeoutException):
            error = f"no answer within {self._limit:g} s"
        except (NoAddress, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as reason:
            error = said(reason)
        return Outcome(seconds=time.perf_counter() - started, status=status, error=error, for_good=for_good)


def headers(id: str, body: bytes, keys: list[str]) -> dict[str, str]:
    """As Standard Webhooks has it; signed with every key that a receiver may know."""
    at = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "samovar",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id, at, body.decode()) for key in keys),
    }


def content(p: Prediction, event: str, views: Views, version: Version | None) -> bytes:
    """The resource as GET shows it; at its start as it was then, however late that is told."""
    shown = begun(p) if event == "start" else p
    return json.encode(views.training(shown) if p.kind == "train" else views.prediction(shown, version))


def begun(p: Prediction) -> Prediction:
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


def refusal(status: int) -> str | None:
    """What an answer other than 2xx means to whoever looks for a webhook that did not come."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed: give the address that it leads to"
    return f"answered {status}"


def said(error: Exception) -> str:
    """Of a request that failed; the address is not in it, as it may hold a key."""
    cause: BaseException | None = error
    reason = str(error)
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            why = getattr(cause, "verify_message", "") or cause.reason or "TLS failed"
            return f"the certificate or the connection is no good: {why}; {CERTIFICATE}"
        if isinstance(cause, OSError) and cause.errno is not None:
            reason = os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return (reason or type(error).__name__)[:SPOKEN]
