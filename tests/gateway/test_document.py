"""The OpenAPI document says everything that the API may answer; `documented` holds all tests of the gateway to it."""

from gateway.openapi.responses import ANSWERS
from tests.gateway import documented


def operations() -> list[dict[str, object]]:
    paths = documented.document()["paths"].values()
    return [operation for item in paths for operation in item.values()]


def test_nothing_is_said_of_operations_that_are_not_there() -> None:
    assert sorted(str(each["operationId"]) for each in operations()) == sorted(ANSWERS)


def test_every_operation_says_how_it_refuses() -> None:
    for each in operations():
        responses = each["responses"]
        assert isinstance(responses, dict)
        assert "503" in responses
        if each.get("security") != [{}]:
            assert {"401", "429"} <= responses.keys()
        if "requestBody" in each:
            assert {"400", "413", "415", "422"} <= responses.keys()


def test_what_is_referred_to_is_there() -> None:
    document = documented.document()
    named = set(document["components"]["schemas"])
    assert {"PredictionView", "Problem"} <= named
    assert references(document) <= {f"#/components/schemas/{name}" for name in named}


def references(value: object) -> set[str]:
    if isinstance(value, list):
        return {found for each in value for found in references(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {found for each in value.values() for found in references(each)}
