"""Where `CancelationException` used to be."""

from ..errors import CancelationException

__all__ = ["CancelationException"]
