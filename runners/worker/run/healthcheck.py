"""The result of a predictor's `healthcheck`, as a reason why it is unwell or None."""

from ..errors import describe_error
from .call import Failure


def failure_reason(result: object) -> str | None:
    """Return why the predictor is unwell. Only False and an exception say that something is wrong."""
    if isinstance(result, Failure):
        return f"healthcheck failed: {describe_error(result.error)}"
    return "healthcheck returned False" if result is False else None
