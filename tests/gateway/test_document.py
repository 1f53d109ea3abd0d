"""The OpenAPI document lists every answer of the API; `openapi_check` holds all tests of the gateway to it."""

import re
from typing import Annotated

import pytest
from litestar import Litestar, get
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.openapi.document import LazyOpenAPIConfig, split_summary
from gateway.openapi.schemas import request_schema
from tests.gateway import openapi_check

COMPONENTS = [
    "AccountView",
    "AttemptView",
    "CollectionItem",
    "CollectionView",
    "ConfigurationView",
    "DeliveryView",
    "DeploymentView",
    "DeviceView",
    "Found",
    "FoundModel",
    "HardwareView",
    "HealthView",
    "InstanceView",
    "InvalidField",
    "MemoryView",
    "ModelView",
    "NewTokenView",
    "Overview",
    "PredictionView",
    "Problem",
    "ProfileView",
    "PushView",
    "QueueView",
    "ReleaseView",
    "RunnerView",
    "SearchView",
    "SecretView",
    "StateView",
    "TokenView",
    "TrainingView",
    "UploadView",
    "VersionView",
    "Waste",
]


def operations() -> list[dict[str, object]]:
    return openapi_check.operations()


def test_every_operation_says_what_it_answers() -> None:
    assert operations()
    for each in operations():
        responses = each["responses"]
        assert isinstance(responses, dict)
        assert min(responses) < "300", each["operationId"]


def test_a_route_that_does_not_say_what_it_answers_is_refused() -> None:
    @get("/", operation_id="silent", sync_to_thread=False)
    def silent() -> None: ...

    app = Litestar([silent], openapi_config=LazyOpenAPIConfig(title="Samovar", version="1.0.0"))
    with pytest.raises(TypeError, match="silent"):
        app.openapi_schema.to_schema()


def test_a_document_that_is_read_twice_says_the_same() -> None:
    document = openapi_check.lazy_document()
    assert document.to_schema() == document.to_schema()


def test_every_operation_has_a_summary_for_people() -> None:
    summaries = {str(each["operationId"]): str(each["summary"]) for each in operations()}
    for operation, summary in summaries.items():
        assert re.fullmatch(r"[A-Z][a-z]+ .{1,80}[^.]", summary), (operation, summary)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Delete a file.", ("Delete a file", None), id="one sentence"),
        pytest.param("Get a push.\n\nLater it ends.", ("Get a push", "Later it ends."), id="a paragraph"),
        pytest.param("Get `a.b`. See c.\nAnd d.", ("Get `a.b`", "See c.\nAnd d."), id="the same paragraph"),
        pytest.param("A line\nand another", ("A line and another", None), id="no full stop"),
        pytest.param("", ("", None), id="nothing"),
    ],
)
def test_a_summary_is_the_first_sentence_of_a_docstring(text: str, expected: tuple[str, str | None]) -> None:
    assert split_summary(text) == expected


def test_every_parameter_is_in_the_path_or_described() -> None:
    for path, item in openapi_check.document()["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                is_in_path = parameter["in"] == "path" and f"{{{parameter['name']}}}" in path
                assert is_in_path or parameter["description"], (path, parameter["name"])


def test_every_operation_says_how_it_refuses() -> None:
    for each in operations():
        responses = each["responses"]
        assert isinstance(responses, dict)
        assert "503" in responses
        if each.get("security") != [{}]:
            assert {"401", "429"} <= responses.keys()
        if "requestBody" in each:
            assert {"400", "413", "415", "422"} <= responses.keys()


class Renaming(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=9, pattern=r"^a\Z")]
    """The new name."""
    owner: str | None = None
    note: str | UnsetType | None = UNSET
    """Null removes it."""
    age: Annotated[int, Meta(extra_json_schema={"deprecated": True})] | None = None


def test_a_body_has_the_schema_of_its_struct() -> None:
    assert request_schema(Renaming) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9, "pattern": "^a$", "description": "The new name."},
            "owner": {"type": "string"},
            "note": {"type": ["string", "null"], "description": "Null removes it."},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert request_schema(Renaming, required=("owner",), hidden=("note",))["required"] == ["name", "owner"]


def test_the_docs_of_fields_are_descriptions() -> None:
    schemas = openapi_check.document()["components"]["schemas"]
    assert schemas["PredictionView"]["properties"]["starting"]["description"]


def test_the_names_of_components_stay() -> None:
    """Generated clients have classes of these names."""
    assert sorted(openapi_check.document()["components"]["schemas"]) == COMPONENTS


def test_what_is_referred_to_is_there() -> None:
    document = openapi_check.document()
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
