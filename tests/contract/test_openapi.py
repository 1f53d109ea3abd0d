"""The OpenAPI document against the live stack: no request finds a fault, or an answer that is not in the document."""

from collections.abc import Generator

import httpx
import pytest
import schemathesis
import schemathesis.core.failures
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from benchmarks.stack import Stack, running_stack
from tests.gateway import openapi_check
from tests.live import wait_until_listed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CASES = 25
"""Valid and invalid requests for each operation, drawn from a fixed seed: every run sends the same."""
ENDLESS = {"runners.events", "predictions.events"}
"""Streams that go on until the client leaves; other tests read them."""
NEVER_WRONG = {
    "files.download",
    "files.download.head",
    "health.live",
    "health.ready",
    "metrics.get",
    "models.versions.push",
    "outputs.get",
    "outputs.head",
}
"""Operations that take any text, or nothing at all."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FIXED = settings(
    max_examples=CASES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@schemathesis.serializer("application/x-tar")
def as_archive(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Return bytes that are no archive; other tests push real ones."""
    return str(value).encode()


@pytest.fixture(scope="module")
def stack() -> Generator[Stack]:
    """A stack of its own: the drawn requests create accounts, models and collections at random."""
    with running_stack() as started:
        wait_until_listed(started, ["samovar/hello-world"])
        yield started


@pytest.fixture(scope="module")
def document(stack: Stack) -> OpenApiSchema:
    return schemathesis.openapi.from_dict(httpx.get(f"{stack.url}/openapi.json").json())


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", sorted({each["operationId"] for each in openapi_check.operations()} - ENDLESS))
def test_every_answer_is_documented(
    document: OpenApiSchema, stack: Stack, operation: str, mode: GenerationMode
) -> None:
    @FIXED
    @given(document.find_operation_by_id(operation).as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        case.call_and_validate(base_url=stack.url, headers=stack.headers, checks=CHECKS, timeout=70)

    try:
        send()
    except Unsatisfiable:
        if mode is GenerationMode.POSITIVE or operation not in NEVER_WRONG:
            raise


def test_a_response_that_is_not_documented_is_reported(stack: Stack) -> None:
    """Run the same checks against a document that leaves out the response to an invalid input."""
    known = httpx.get(f"{stack.url}/openapi.json").json()
    del known["paths"]["/v1/predictions"]["post"]["responses"]["422"]
    operation = schemathesis.openapi.from_dict(known).find_operation_by_id("predictions.create")
    case = operation.Case(body={"version": "nothing", "input": {}}, media_type="application/json")
    with pytest.raises(schemathesis.core.failures.FailureGroup, match="Undocumented status code"):
        case.call_and_validate(base_url=stack.url, headers=stack.headers, checks=CHECKS)
