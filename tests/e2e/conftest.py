"""The live stack, and what predictions of `tests/models` need on its host."""

from tests.live import api, closed, gate, stack

__all__ = ["api", "closed", "gate", "stack"]
