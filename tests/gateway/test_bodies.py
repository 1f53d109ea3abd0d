from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.catalog.input_schema import InputValidator
from gateway.errors import BadRequest, GatewayError, InvalidInput, Unprocessable, UnsupportedMedia
from gateway.http import bodies
from gateway.predictions import request
from tests.gateway.conftest import ECHO

VALIDATOR = InputValidator(json.decode(bytes(ECHO.openapi_schema)))


def body(content: bytes, media_type: str = "application/json") -> request.PredictionBody:
    return bodies.decode_request(content, media_type, max_depth=64)


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
