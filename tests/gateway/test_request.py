from typing import Any

import pytest
from msgspec import convert

from gateway.egress.policy import EgressPolicy
from gateway.errors import InvalidInput
from gateway.predictions import request


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"webhook": ""}, "webhook", id="empty"),
        pytest.param({"webhook": "ftp://example.com"}, "webhook", id="another scheme"),
        pytest.param({"webhook": "https://"}, "webhook", id="no host"),
        pytest.param({"webhook": "https://example.com:0/"}, "webhook", id="port 0"),
        pytest.param({"webhook": "https://example.com:99999/"}, "webhook", id="no such port"),
        pytest.param({"webhook": "https://a:b@example.com/"}, "webhook", id="credentials"),
        pytest.param({"webhook": "https://example.com/\0"}, "webhook", id="NUL"),
        pytest.param({"webhook": "https://example.com/" + "x" * 2048}, "webhook", id="too long"),
        pytest.param({"webhook": "http://10.0.0.1/"}, "webhook", id="a private address"),
        pytest.param({"webhook": "http://169.254.169.254/"}, "webhook", id="a metadata service"),
        pytest.param({"webhook_completed": "x"}, "webhook_completed", id="the old name"),
        pytest.param(
            {"webhook": "https://example.com", "webhook_events_filter": ["end"]}, "webhook_events_filter", id="an event"
        ),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_by_its_field(body: dict[str, Any], field: str):
    with pytest.raises(InvalidInput) as refused:
        request.parse_webhook(convert(body, request.PredictionBody), EgressPolicy())
    assert [each.field for each in refused.value.fields] == [field]


def test_a_webhook_may_be_any_other_address():
    for url in (
        "https://example.com/hook?token=x#y",
        "http://example.com:8080",
        "https://пример.рф/",
        "http://[2606::1]/",
    ):
        assert request.parse_webhook(request.PredictionBody(webhook=url), EgressPolicy()) == (url, None)
    local = request.PredictionBody(webhook="http://127.0.0.1/")
    assert request.parse_webhook(local, EgressPolicy(allow_private=True))[0]
    with pytest.raises(InvalidInput, match="SAMOVAR_WEBHOOK_HTTP"):
        request.parse_webhook(request.PredictionBody(webhook="http://example.com"), EgressPolicy(allow_http=False))
