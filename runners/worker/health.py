"""What a predictor's `healthcheck` says, as a reason or none."""

from .desk import Raised
from .predictor import describe


def found(result: object) -> str | None:
    """Only False and an exception say that something is wrong."""
    if isinstance(result, Raised):
        return f"healthcheck failed: {describe(result.error)}"
    return "healthcheck returned False" if result is False else None
