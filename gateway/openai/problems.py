"""Errors in the shape that OpenAI's clients read."""

import re
from typing import Any, Final

from msgspec import Struct

from gateway.errors import BadRequest, GatewayError, InvalidInput, NotFound
from schemas.problem import InvalidField

MISSING_FIELD: Final = re.compile(r"^(\w+) is required$")
NO_RETRY_HEADERS: Final = {"X-Should-Retry": "false"}


class UnsupportedField(BadRequest):
    """A field of the request cannot be honored."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}")
        self.param = param


class UnknownModel(NotFound):
    """The model does not exist, or you do not have access to it."""

    code = "model_not_found"
    param = "model"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model {name[:200]!r} does not exist, or you do not have access to it.")


class ModelFailed(GatewayError):
    """The model did not answer."""

    code = "model_failed"
    retried = False  # the model would compute it again, and most likely fail again


class InputMismatch(BadRequest):
    """The input does not fit the version's schema.

    Its message names fields as the request does.
    """

    def __init__(self, error: InvalidInput, field_names: dict[str, str]) -> None:
        lines: list[str] = []
        for each in error.fields:
            _, _, rest = each.field.partition(".")
            name, dot, inner = rest.partition(".")
            lines.append(f"{field_names.get(name, name)}{dot}{inner}: {each.description}" if name else each.description)
        super().__init__("; ".join(lines))
        first = lines[0].partition(": ")[0] if lines and ": " in lines[0] else None
        self.param = first.partition(".")[0] if first else None


class ErrorResponse(Struct, frozen=True):
    """The response to a request that failed."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def error_response(error: GatewayError) -> ErrorResponse:
    """Return the status, body and headers of an error."""
    status = 400 if error.status in {413, 415, 422} else error.status
    message, param = str(error), getattr(error, "param", None)
    if isinstance(error, InvalidInput) and error.fields:
        message, param = _field_error(error.fields[0])
    headers: dict[str, str] = {}
    if (wait := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(wait)
    if not getattr(error, "retried", True):
        headers |= NO_RETRY_HEADERS
    code = getattr(error, "code", None) or ERROR_CODES.get(status)
    body = {"message": message, "type": _error_type(status), "param": param, "code": code}
    return ErrorResponse(status, {"error": body}, headers)


def _field_error(wrong: InvalidField) -> tuple[str, str | None]:
    """Return what is wrong with a body, and in which field of it."""
    if missing := MISSING_FIELD.search(wrong.description):
        return f"{missing[1]}: this field is required.", missing[1]
    field = wrong.field if wrong.field.isprintable() and wrong.field[:1].isalpha() else None
    return f"{field}: {wrong.description}" if field else wrong.description, field


ERROR_CODES: Final = {401: "invalid_api_key", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}


def _error_type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status == 403:
        return "permission_error"
    return "server_error" if status >= 500 else "invalid_request_error"
