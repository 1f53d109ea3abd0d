"""The classes that a predictor may inherit from. None has to."""

import warnings
from typing import Any

from .scope import Mode, Scope, current_scope


class BaseRunner:
    """A predictor that defines `run` or, as older ones do, `predict`."""

    def setup(self, *_args: Any, **_kwargs: Any) -> Any:
        """Load what every prediction needs. It is called once, before the first, with `weights` if it takes them."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run a prediction; by default by `predict`, for a predictor that calls itself by the newer name."""
        if overridden(type(self), "predict") is None:
            raise NotImplementedError(f"class {type(self).__name__} defines neither run nor predict")
        return self.predict(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run a prediction by `run`. Deprecated."""
        warnings.warn(f"{type(self).__name__}.predict() is deprecated; call run()", DeprecationWarning, stacklevel=2)
        return self.run(*args, **kwargs)

    @property
    def scope(self) -> Scope:
        """The scope of the prediction that runs."""
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: Mode = "replace") -> None:
        """Record a metric of the prediction that runs."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The base of predictors by its older name."""


def overridden(kind: type[Any], name: str) -> type[Any] | None:
    """Return the predictor's class that defines the method, or None.

    What a mixin after our own classes defines is not the predictor's.
    """
    for owner in kind.__mro__:
        if owner in (BaseRunner, BasePredictor, object):
            return None
        if callable(vars(owner).get(name)):
            return owner
    return None
