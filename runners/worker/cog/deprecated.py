"""Names that older predictors import from `cog`, and newer ones have no use for."""

from .scope import current_scope


class ExperimentalFeatureWarning(FutureWarning):
    """Never raised: predictors name it to silence it."""


def emit_metric(name: str, value: float) -> None:
    current_scope().record_metric(name, value)
