"""Types of outputs that come piece by piece and read as one text."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)


class ConcatenateIterator(Iterator[T], Protocol[T]):
    """An iterator whose values are meant to be joined. Any iterator is one, so that a generator may say so."""


class AsyncConcatenateIterator(AsyncIterator[T]):
    """An async iterator whose values are meant to be joined."""
