"""What the OpenAPI document says of models, examples, collections and search."""

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

from gateway.openapi.operations import CURSOR, body, query

TEXT: Final = Schema(type=OpenAPIType.STRING)
ADDRESS: Final = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.URI)
VISIBILITY: Final = Schema(type=OpenAPIType.STRING, enum=["public", "private"])
URLS: Final = dict.fromkeys(("github_url", "paper_url", "license_url", "cover_image_url"), ADDRESS)
COLLECTION: Final = {
    "name": TEXT,
    "slug": Schema(type=OpenAPIType.STRING, description="a-z, 0-9 and -; made from the name if it is left out."),
    "description": TEXT,
    "full_description": Schema(type=OpenAPIType.STRING, description="Markdown."),
    "models": Schema(type=OpenAPIType.ARRAY, items=TEXT, description="owner/name of each, in the order shown."),
}


@dataclass
class ModelsOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            CURSOR,
            query("sort_by", "latest_version_created_at (default) or model_created_at"),
            query("sort_direction", "desc (default) or asc"),
            query("query", "Search for it instead, as `QUERY /v1/models` does with its body."),
        ]


@dataclass
class NewModelOperation(Operation):
    def __post_init__(self) -> None:
        needed = {"owner": TEXT, "name": TEXT, "visibility": VISIBILITY, "hardware": TEXT}
        self.request_body = body({**needed, "description": TEXT, **URLS}, list(needed))


@dataclass
class DescribeOperation(Operation):
    def __post_init__(self) -> None:
        fields = dict.fromkeys(("description", "readme", "hardware"), TEXT)
        example = Schema(type=OpenAPIType.STRING, description="The id of a prediction that is one of its examples.")
        self.request_body = body(
            {**fields, "visibility": VISIBILITY, **URLS, "weights_url": ADDRESS, "default_example": example}, []
        )


@dataclass
class ExampleOperation(Operation):
    def __post_init__(self) -> None:
        id = Schema(type=OpenAPIType.STRING, description="The id of one of your predictions that has succeeded.")
        self.request_body = body({"prediction": id}, ["prediction"])


@dataclass
class SearchOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            query("query", 'Required. Words; `-word` leaves out, `"two words"` keeps together, `or` takes either.'),
            query("limit", "1 to 50 models; 20 if it is left out."),
        ]


@dataclass
class NewCollectionOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = body(COLLECTION, ["name", "description"])


@dataclass
class CollectionOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = body(COLLECTION, [])
