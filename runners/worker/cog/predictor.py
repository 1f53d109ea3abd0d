"""The classes that a predictor may inherit from; none has to."""

from typing import Any

from .scope import Mode, Scope, current_scope


class _Base:
    def setup(self, *_args: Any, **_kwargs: Any) -> Any:
        """Load what every prediction needs; called once, before the first. May have a parameter `weights`, or none."""

    @property
    def scope(self) -> Scope:
        return current_scope()

    def record_metric(self, name: str, value: Any, mode: Mode = "replace") -> None:
        """Say a number of the prediction that runs."""
        current_scope().record_metric(name, value, mode)


class BaseRunner(_Base):
    """Defines `run`."""


class BasePredictor(_Base):
    """Defines `predict`."""
