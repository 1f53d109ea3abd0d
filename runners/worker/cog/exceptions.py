"""Where the documentation says that `CancelationException` is."""

from .errors import CancelationException

__all__ = ["CancelationException"]
