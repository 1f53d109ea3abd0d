"""Decoding tokens to text piece by piece: only text that no later token can change."""

from collections.abc import Callable

UNFINISHED = "\ufffd"  # the decoder's sign for a character whose other bytes are still to come


class IncrementalDecoder:
    """Decodes the tokens of one answer as they come."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._emitted = 0
        """How many tokens' text was returned. A few of them stay, since a token's spaces depend on those before."""

    def add(self, token: int) -> str:
        """Add a token and return the text that is final now."""
        self._tokens.append(token)
        piece = self._new()
        if not piece or piece.endswith(UNFINISHED):
            return ""
        self._tokens = self._tokens[self._emitted :]
        self._emitted = len(self._tokens)
        return piece

    def rest(self) -> str:
        """Return the remaining text when no token follows."""
        return self._new()

    def _new(self) -> str:
        return self._decode(self._tokens)[len(self._decode(self._tokens[: self._emitted])) :]
