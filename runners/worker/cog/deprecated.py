"""Deprecated names that older predictors import from `cog`."""

from .scope import current_scope


class ExperimentalFeatureWarning(FutureWarning):
    """A warning that is never issued: predictors name it to silence it."""


def emit_metric(name: str, value: float) -> None:
    """Record a metric of the prediction that runs."""
    current_scope().record_metric(name, value)
