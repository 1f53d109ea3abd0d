"""The classes that a predictor may inherit from; none has to."""

import warnings
from typing import Any

from .scope import Mode, Scope, current_scope


class BaseRunner:
    """Defines `run`, or as older predictors do, `predict`."""

    def setup(self, *_args: Any, **_kwargs: Any) -> Any:
        """Load what every prediction needs; called once, before the first. May have a parameter `weights`, or none."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """For a predictor that calls itself by the other name."""
        if overridden(type(self), "predict") is None:
            raise NotImplementedError(f"class {type(self).__name__} defines neither run nor predict")
        return self.predict(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"{type(self).__name__}.predict() is deprecated; call run()", DeprecationWarning, stacklevel=2)
        return self.run(*args, **kwargs)

    @property
    def scope(self) -> Scope:
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: Mode = "replace") -> None:
        """Say a number of the prediction that runs."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The older name of `BaseRunner`."""


def overridden(kind: type[Any], name: str) -> type[Any] | None:
    """The class that defines the method. What a mixin after our own classes defines is none of the predictor's."""
    for owner in kind.__mro__:
        if owner in (BaseRunner, BasePredictor, object):
            return None
        if callable(vars(owner).get(name)):
            return owner
    return None
