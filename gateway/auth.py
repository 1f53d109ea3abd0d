"""Who calls: a token in the Authorization header, known to us by its hash only."""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account, digest

FRESH: Final = 10.0  # seconds for which a token is not looked up again
KEPT: Final = 10_000


class Tokens(Protocol):
    async def by_token(self, hash: bytes) -> Account | None: ...


class Auth:
    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[float, Account]] = {}

    async def account(self, authorization: str | None) -> Account:
        """By `Bearer` or `Token`, whatever their case; the token is all after the first space. Raises `NoToken`."""
        if not authorization:
            raise NoToken
        at, account = self._known.get(authorization, (0.0, None))
        if account is not None and self._clock() - at < FRESH:
            return account
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token.strip():
            raise BadToken
        account = await self._tokens.by_token(digest(token.strip()))
        if account is None:
            self._known.pop(authorization, None)
            raise BadToken
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[authorization] = (self._clock(), account)
        return account
