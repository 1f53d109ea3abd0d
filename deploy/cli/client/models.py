"""The inputs and the output of a model, read from the schema of its version."""

from typing import Any, Final

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.client.inputs import Schema, resolve_schema
from deploy.cli.client.references import Reference

ITERATOR_KEY: Final = "x-cog-array-type"
DISPLAY_KEY: Final = "x-cog-array-display"


class ModelSchema:
    """The inputs and the output of a model, as its version's OpenAPI document describes them.

    `version` is None where the model's latest version is meant. Commands that run a model use it.
    """

    def __init__(self, name: str, document: dict[str, Any], version: str | None) -> None:
        self.name = name
        self.document = document
        self.version = version
        schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
        self.output: Schema = resolve_schema(schemas.get("Output", {}), schemas)

    @property
    def is_iterator(self) -> bool:
        """Whether the output comes in chunks."""
        return ITERATOR_KEY in self.output

    @property
    def is_text(self) -> bool:
        """Whether the chunks join up as one text."""
        return self.output.get(DISPLAY_KEY) == "concatenate"

    @property
    def has_files(self) -> bool:
        """Whether the output is a file, or a list of files."""
        return takes_file(self.output)


def load_schema(api: Api, text: str) -> ModelSchema:
    """Fetch the schema of `owner/name` or `owner/name:version`. Raises `UsageError`."""
    reference = references.resolve_model(api, text)
    return read_schema(reference, api.get(reference.path))


def read_schema(reference: Reference, resource: dict[str, Any]) -> ModelSchema:
    """Read the schema from the API's description of a model, or of one of its versions."""
    version: dict[str, Any] = resource if reference.version else resource.get("latest_version") or {}
    return ModelSchema(reference.name, version.get("openapi_schema") or {}, reference.version)


def takes_file(schema: Schema) -> bool:
    """Return whether a value of this schema is a file, or a list of files."""
    return "uri" in (schema.get("format"), schema.get("items", {}).get("format"))
