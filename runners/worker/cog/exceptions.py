"""The module that Cog's documentation imports `CancelationException` from."""

from .errors import CancelationException

__all__ = ["CancelationException"]
