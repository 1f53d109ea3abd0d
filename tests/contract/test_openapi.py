"""The OpenAPI document against the live stack: no request finds a fault, or an answer that is not in the document."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CASES = 12
"""For each operation; drawn from a fixed seed, so that every run sends the same."""
ENDLESS = ["runners.events", "predictions.events"]
"""Streams that go on until the client leaves; tests of their own read them."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def document(stack: Stack) -> schemathesis.BaseSchema:
    found = schemathesis.openapi.from_dict(httpx.get(f"{stack.url}/openapi.json").json())
    return found.exclude(operation_id=ENDLESS)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()  # pyright: ignore[reportUntypedFunctionDecorator]
@settings(
    max_examples=CASES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_every_answer_is_documented(case: Case, stack: Stack) -> None:
    case.call_and_validate(base_url=stack.url, headers=stack.headers, checks=CHECKS, timeout=70)
