from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, convert, json

from gateway.catalog import input_schema
from gateway.catalog.input_schema import InputValidator
from gateway.egress.policy import EgressPolicy
from gateway.errors import BadRequest, GatewayError, InvalidInput, Unprocessable, UnsupportedMedia
from gateway.http import bodies, headers
from gateway.predictions import request
from tests.gateway.conftest import ECHO

VALIDATOR = InputValidator(json.decode(bytes(ECHO.openapi_schema)))


def body(content: bytes, media_type: str = "application/json") -> request.PredictionBody:
    return bodies.decode_request(content, media_type, max_depth=64)


@pytest.mark.parametrize(
    ("input", "type", "field", "description"),
    [
        pytest.param({}, "required", "input", "text is required", id="missing"),
        pytest.param(
            {"text": 1}, "invalid_type", "input.text", "Invalid type. Expected: string, given: integer", id="type"
        ),
        pytest.param(
            {"text": "a", "times": 9}, "number_lte", "input.times", "Must be less than or equal to 4", id="too large"
        ),
        pytest.param(
            {"text": "a", "times": 0}, "number_gte", "input.times", "Must be greater than or equal to 1", id="too small"
        ),
        pytest.param(
            {"text": "a", "times": None},
            "invalid_type",
            "input.times",
            "Invalid type. Expected: integer, given: null",
            id="null",
        ),
        pytest.param(
            {"text": "a", "size": "x"},
            "enum",
            "input.size",
            'input.size must be one of the following: "s", "m"',
            id="choice",
        ),
        pytest.param({"text": "a", "image": "no"}, "format", "input.image", "Does not match format 'uri'", id="uri"),
        pytest.param({"text": "a\0"}, "pattern", "input.text", input_schema.NUL_REFUSED, id="NUL"),
        pytest.param(
            {"text": "a", "o": [{"k": "\0"}]}, "pattern", "input.o.0.k", input_schema.NUL_REFUSED, id="NUL deep down"
        ),
        pytest.param([], "invalid_type", "input", "Invalid type. Expected: object, given: array", id="not an object"),
    ],
)
def test_a_wrong_input_is_named(input, type: str, field: str, description: str):
    with pytest.raises(InvalidInput) as refused:
        VALIDATOR.check(Raw(json.encode(input)))
    [found] = refused.value.fields
    assert (found.type, found.field, found.description) == (type, field, description)
    assert str(refused.value) == f"- {field}: {description}\n"


def test_everything_wrong_is_named_at_once():
    with pytest.raises(InvalidInput) as refused:
        VALIDATOR.check(Raw(b'{"times":9,"size":"x"}'))
    assert {found.field for found in refused.value.fields} == {"input", "input.times", "input.size"}


def test_a_null_for_a_nullable_input_means_that_it_was_left_out():
    assert json.decode(bytes(VALIDATOR.check(Raw(b'{"text":"a","seed":null}')))) == {"text": "a"}


def test_a_good_input_is_kept_to_the_letter():
    text = b'{ "text" : "\\u00e9", "other": 1.50 }'
    assert bytes(VALIDATOR.check(Raw(text))) == text


@pytest.mark.parametrize(
    ("content", "error", "part"),
    [
        pytest.param(b"", BadRequest, "parse", id="empty"),
        pytest.param(b"{", BadRequest, "parse", id="cut off"),
        pytest.param(b'{"input":{"text":"\xff"}}', BadRequest, "parse", id="broken UTF-8"),
        pytest.param(b"[]", InvalidInput, "Expected `object`", id="not an object"),
        pytest.param(b'{"input":{},"model":"x"}', InvalidInput, "Additional property model is not allowed", id="extra"),
        pytest.param(b'{"input":{},"version":7}', InvalidInput, "version: Expected `str", id="type of a field"),
        pytest.param(b'{"input":' + b"[" * 200 + b"]" * 200 + b"}", BadRequest, "64 levels", id="too deep"),
    ],
)
def test_a_wrong_body_is_named(content: bytes, error: type[GatewayError], part: str):
    with pytest.raises(error, match=part):
        VALIDATOR.check(body(content).input)


def test_brackets_in_strings_are_not_depth():
    text = "[{" * 100 + '\\"'
    assert body(json.encode({"input": {"text": text}})).input


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/form-data; boundary=x"])
def test_only_json_is_read(media_type: str):
    with pytest.raises(UnsupportedMedia):
        body(b"{}", media_type)


@given(st.binary(max_size=200))
def test_whatever_comes_gets_an_answer(content: bytes):
    with suppress(BadRequest, Unprocessable):
        VALIDATOR.check(body(content).input)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("respond-async", None),
        ("wait", 58.0),
        ("wait=10", 9.95),
        ("respond-async, Wait=1", 0.95),
        ("wait=60", 58.0),
        ("wait=99", 58.0),
        ("wait=x", None),
    ],
)
def test_a_preference_to_wait(header: str | None, seconds: float | None):
    assert headers.parse_prefer(header, 58.0) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("30", 30), ("30s", 30), ("5m", 300), ("1h30m45s", 5445), ("1h5", 3605)]
)
def test_a_time_span(header: str | None, seconds: float | None):
    assert headers.parse_cancel_after(header) == seconds


@pytest.mark.parametrize("header", ["", "x", "4s", "25h", "1m1h", "-5", "1.5"])
def test_a_time_span_that_is_none(header: str):
    with pytest.raises(Unprocessable, match="Cancel-After"):
        headers.parse_cancel_after(header)


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
