"""The body of an error response: RFC 9457, with the extra members that Replicate's clients know."""

from msgspec import Struct


class InvalidField(Struct, frozen=True, kw_only=True):
    """A field of the request that is not valid, in gojsonschema's vocabulary, as the hosted service has it."""

    type: str
    field: str
    description: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as clients get it."""

    detail: str
    status: int
    title: str | None = None
    invalid_fields: list[InvalidField] = []
    retry_after: int | None = None
