"""What goes wrong, as OpenAI's clients read it."""

import re
from typing import Any, Final

from msgspec import Struct

from gateway.errors import BadRequest, GatewayError, InvalidInput, NotFound
from schemas.problem import InvalidField

MISSING: Final = re.compile(r"^(\w+) is required$")
RETRY_NOT: Final = {"X-Should-Retry": "false"}


class Refused(BadRequest):
    """A field of the request cannot be followed."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}")
        self.param = param


class NoModel(NotFound):
    """There is no such model, or it is not to be seen with this token."""

    code = "model_not_found"
    param = "model"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model {name[:200]!r} does not exist, or you do not have access to it.")


class ModelFailed(GatewayError):
    """The model did not answer."""

    code = "model_failed"
    retried = False  # it would be computed anew, and most likely fail anew


class Misfit(BadRequest):
    """The input does not fit the version's schema; fields have the names that the request has for them."""

    def __init__(self, error: InvalidInput, names: dict[str, str]) -> None:
        lines: list[str] = []
        for each in error.fields:
            _, _, rest = each.field.partition(".")
            name, dot, inner = rest.partition(".")
            lines.append(f"{names.get(name, name)}{dot}{inner}: {each.description}" if name else each.description)
        super().__init__("; ".join(lines))
        first = lines[0].partition(": ")[0] if lines and ": " in lines[0] else None
        self.param = first.partition(".")[0] if first else None


class Answer(Struct, frozen=True):
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def answer(error: GatewayError) -> Answer:
    """The status, body and headers of an error."""
    status = 400 if error.status in {413, 415, 422} else error.status
    message, param = str(error), getattr(error, "param", None)
    if isinstance(error, InvalidInput) and error.fields:
        message, param = _told(error.fields[0])
    headers: dict[str, str] = {}
    if (wait := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(wait)
    if not getattr(error, "retried", True):
        headers |= RETRY_NOT
    code = getattr(error, "code", None) or CODES.get(status)
    body = {"message": message, "type": _type(status), "param": param, "code": code}
    return Answer(status, {"error": body}, headers)


def _told(wrong: InvalidField) -> tuple[str, str | None]:
    """What is wrong with a body, and in which field of it."""
    if missing := MISSING.search(wrong.description):
        return f"{missing[1]}: this field is required.", missing[1]
    field = wrong.field if wrong.field.isprintable() and wrong.field[:1].isalpha() else None
    return f"{field}: {wrong.description}" if field else wrong.description, field


CODES: Final = {401: "invalid_api_key", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status == 403:
        return "permission_error"
    return "server_error" if status >= 500 else "invalid_request_error"
