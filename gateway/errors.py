"""The errors that a client can get, each with its status.

GatewayError 500
├── NoToken, BadToken 401
├── Forbidden 403
├── NotFound 404
├── MethodNotAllowed 405
├── BadRequest 400
│   └── TooDeep 400
├── BodyTooLarge 413
├── UnsupportedMedia 415
├── BadRange 416
├── Unprocessable 422
│   ├── InvalidInput 422
│   ├── UnknownVersion 422
│   └── NotSupported 422
├── TooMany 429
│   ├── QueueFull 429
│   └── Throttled 429
├── NoFiles 503
└── Unavailable 503
"""

from schemas.problem import InvalidField, Problem


class GatewayError(Exception):
    """Something went wrong on our side. The gateway's log has the details."""

    status = 500
    title = "Internal server error"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.__doc__ or "")

    def problem(self) -> Problem:
        """Return the body of the answer."""
        return Problem(title=self.title, detail=str(self), status=self.status)


class NoToken(GatewayError):
    """You did not pass an authentication token"""

    status = 401
    title = "Unauthenticated"


class BadToken(NoToken):
    """You did not pass a valid authentication token"""


class Forbidden(GatewayError):
    """This belongs to somebody else."""

    status = 403
    title = "Forbidden"


class NotFound(GatewayError):
    """The requested resource could not be found."""

    status = 404
    title = "Not found"


class MethodNotAllowed(GatewayError):
    """This method is not allowed for the requested resource."""

    status = 405
    title = "Method not allowed"


class BadRequest(GatewayError):
    """The request could not be read."""

    status = 400
    title = "Bad request"


class BodyTooLarge(GatewayError):
    """The request's body is too large."""

    status = 413
    title = "Content too large"


class UnsupportedMedia(GatewayError):
    """Send the body as application/json."""

    status = 415
    title = "Unsupported media type"


class BadRange(GatewayError):
    """The file has no such part."""

    status = 416
    title = "Range not satisfiable"


class Unprocessable(GatewayError):
    """The request was read, and cannot be followed."""

    status = 422
    title = "Unprocessable request"


class UnknownVersion(Unprocessable):
    """The specified version does not exist (or perhaps you don't have permission to use it?)"""

    title = "Invalid version or not permitted"


class NotSupported(Unprocessable):
    """This is not supported yet."""

    title = "Not supported"


class InvalidInput(Unprocessable):
    """The input does not fit the schema of the version, or a field of the body is wrong."""

    title = "Input validation failed"

    def __init__(self, fields: list[InvalidField]) -> None:
        lines = (f"- {f.field}: {f.description}\n" if f.field else f"- {f.description}\n" for f in fields)
        super().__init__("".join(lines))
        self.fields = fields

    def problem(self) -> Problem:
        """Return the body of the answer."""
        return Problem(title=self.title, detail=str(self), status=self.status, invalid_fields=self.fields)


class TooManyRequests(GatewayError):
    """Too many requests. Try again later."""

    status = 429
    title = "Too many requests"
    retry_after = 5

    def problem(self) -> Problem:
        """Return the body of the answer."""
        return Problem(title=self.title, detail=str(self), status=self.status, retry_after=self.retry_after)

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        return {"Retry-After": str(self.retry_after)}


class QueueFull(TooManyRequests):
    """Too many predictions wait for this model."""


class Throttled(TooManyRequests):
    """The allowance of the minute is used up."""

    def __init__(self, resets_in: int) -> None:
        super().__init__(f"Request was throttled. Your rate limit resets in ~{resets_in}s.")
        self.retry_after = resets_in

    def problem(self) -> Problem:
        """Return the body of the answer."""
        return Problem(detail=str(self), status=self.status, retry_after=self.retry_after)

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer, with the state of the rate limit."""
        return {**super().headers(), "ratelimit-remaining": "0", "ratelimit-reset": str(self.retry_after)}


class FileStoreUnavailable(GatewayError):
    """The file store cannot be used. Nothing was accepted: look at the gateway's log and at SAMOVAR_FILES_URL."""

    status = 503
    title = "File store unavailable"


class Unavailable(GatewayError):
    """The database cannot be reached. Nothing was accepted; try again."""

    status = 503
    title = "Service unavailable"


def missing_field(field: str) -> InvalidInput:
    """Return the error for a body that lacks a required field."""
    return invalid_field("", "required", f"{field} is required")


def invalid_field(field: str, type: str, description: str) -> InvalidInput:
    """Return the error for one field of a body.

    `type` is in gojsonschema's vocabulary where that has a word for it.
    """
    return InvalidInput([InvalidField(type=type, field=field, description=description)])
