"""The sending of webhooks: signatures, the schedule of attempts, and the body about a start."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw, structs
from replicate.webhook import Webhooks as Official
from replicate.webhook import WebhookSigningSecret
from standardwebhooks import Webhook

from gateway.store.deliveries import LeasedDelivery, WebhookEvent
from gateway.store.secrets import draw_key
from gateway.webhooks.sender import JITTER, Outcome, RetryPolicy, as_started, sign_request
from schemas.prediction import Chunks, Prediction, Status

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
FAILED = Outcome(seconds=0.1, status=500, error="answered 500")
DELIVERY = LeasedDelivery(
    id="msg_1",
    account=1,
    prediction="p",
    event="completed",
    url="https://example.com",
    host="example.com",
    base="",
    attempt=1,
    since=AT,
    dropped=False,
)


def test_signatures_are_those_of_the_documented_example():
    at = datetime.fromtimestamp(1614265330, UTC)
    signed = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_client_verifies_with_either_of_two_keys():
    keys = [draw_key(), draw_key()]
    body = '{"text":"grüße"}'.encode()
    sent = sign_request("msg_1", body, keys)
    for key in keys:
        assert key.count("_") == 1
        Official.validate(headers=sent, body=body.decode(), secret=WebhookSigningSecret(key=key))
    with pytest.raises(ValueError):
        Official.validate(headers=sent, body=body.decode(), secret=WebhookSigningSecret(key=draw_key()))


def test_retries_double_their_waits_up_to_an_hour_and_end_with_their_time():
    retries = RetryPolicy(5.0, timedelta(hours=24))
    now, waits = AT, []
    while True:
        state, again = retries.next_state(DELIVERY, FAILED, now)
        if again is None:
            break
        waits.append((again - now).total_seconds())
        now = again
    assert state == "failed"
    assert now <= AT + timedelta(hours=24)
    assert 24 < len(waits) < 60
    assert all(5 * (1 - JITTER) <= wait <= 3600 * (1 + JITTER) for wait in waits)
    assert waits[0] < 6.1
    assert max(waits) > 3600 * (1 - JITTER)
    assert sum(waits[:5]) < 300


@pytest.mark.parametrize("event", ["start", "output", "logs"])
def test_a_webhook_that_a_later_one_covers_is_sent_once(event: WebhookEvent):
    delivery = structs.replace(DELIVERY, event=event)
    assert RetryPolicy(5.0, timedelta(hours=24)).next_state(delivery, FAILED, AT) == ("failed", None)


def test_a_webhook_that_the_egress_policy_refuses_is_tried_once():
    refused = Outcome(seconds=0.0, error="10.0.0.1 is a private address", is_permanent=True)
    assert RetryPolicy(5.0, timedelta(hours=24)).next_state(DELIVERY, refused, AT) == ("failed", None)


def test_a_start_that_is_sent_late_shows_nothing_of_what_came_after():
    ended = Prediction(
        id="p",
        account=1,
        model="a/b",
        version="v",
        input=Raw(b"{}"),
        created_at=AT,
        started_at=AT,
        completed_at=AT,
        status=Status.SUCCEEDED,
        many=True,
        chunks=Chunks.of([Raw(b'"a"')]),
        text=Chunks.of(["log"]),
        logged=3,
        metrics={"predict_time": 1.0},
    )
    started = as_started(ended)
    assert (started.status, started.started_at, started.completed_at) == (Status.PROCESSING, AT, None)
    assert (started.output, started.logs, started.metrics) == (None, "", {})
