"""Text out of tokens, piece by piece: only what no later token can change."""

from collections.abc import Callable

UNFINISHED = "\ufffd"  # the decoder's sign for a character whose other bytes are still to come


class Unfolding:
    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._said = 0
        """Tokens whose text has been given out; a few of them stay, since a token's spaces depend on those before."""

    def add(self, token: int) -> str:
        self._tokens.append(token)
        piece = self._new()
        if not piece or piece.endswith(UNFINISHED):
            return ""
        self._tokens = self._tokens[self._said :]
        self._said = len(self._tokens)
        return piece

    def rest(self) -> str:
        """What is left when no token follows."""
        return self._new()

    def _new(self) -> str:
        return self._decode(self._tokens)[len(self._decode(self._tokens[: self._said])) :]
