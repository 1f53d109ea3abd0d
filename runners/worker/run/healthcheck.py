"""What a predictor's `healthcheck` says, as a reason or none."""

from ..predictor.loader import describe
from .responder import Raised


def found(result: object) -> str | None:
    """Only False and an exception say that something is wrong."""
    if isinstance(result, Raised):
        return f"healthcheck failed: {describe(result.error)}"
    return "healthcheck returned False" if result is False else None
