"""`samovar webhooks`."""

from collections.abc import Generator

import pytest
from msgspec import json

from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway, run_fake_gateway

pytestmark = pytest.mark.slow


DELIVERY = {
    "id": "msg_1",
    "prediction": "p1",
    "event": "completed",
    "webhook": "https://example.com/hook",
    "state": "pending",
    "attempts": [
        {"at": "2026-01-05T09:00:00Z", "seconds": 0.01, "status": 500, "error": "answered 500"},
        {"at": "2026-01-05T09:00:05Z", "seconds": 10.0, "status": None, "error": "no answer within 10 s"},
    ],
}


@pytest.fixture
def gateway() -> Generator[FakeGateway]:
    with run_fake_gateway() as gateway:
        gateway.deliveries = [DELIVERY]
        yield gateway


def test_deliveries_are_listed_with_their_last_result(gateway: FakeGateway) -> None:
    result = samovar(gateway, "webhooks", "list", "--state", "pending", "--prediction", "p1")
    assert result.stdout.rstrip("\n").split("\t") == [
        "msg_1",
        "p1",
        "completed",
        "pending",
        "2",
        "no answer within 10 s",
        "https://example.com/hook",
    ]
    assert json.decode(samovar(gateway, "webhooks", "list", "--json").stdout) == [DELIVERY]


def test_every_attempt_of_a_delivery_is_shown(gateway: FakeGateway) -> None:
    first, second = samovar(gateway, "webhooks", "show", "msg_1").stdout.splitlines()
    assert first.split("\t") == ["2026-01-05T09:00:00Z", "0.01", "500", "answered 500"]
    assert second.endswith("no answer within 10 s")


def test_a_delivery_is_sent_again(gateway: FakeGateway) -> None:
    assert samovar(gateway, "webhooks", "redeliver", "msg_1").stdout == "pending\n"
    assert gateway.requests[-1] == ("POST", "/v1/webhooks/deliveries/msg_1/redeliver")


def test_the_secret_is_printed_alone_and_so_is_a_new_one(gateway: FakeGateway) -> None:
    assert samovar(gateway, "webhooks", "secret").stdout == "whsec_old\n"
    assert samovar(gateway, "webhooks", "rotate").stdout == "whsec_new\n"
