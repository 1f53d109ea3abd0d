"""The module that older predictors import `CancelationException` from."""

from ..errors import CancelationException

__all__ = ["CancelationException"]
