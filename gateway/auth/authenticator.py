"""Who calls: a token in the Authorization header, known to us by its hash only."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account, digest

K = TypeVar("K", bytes, str)

FRESH: Final = 10.0  # seconds for which a token is not looked up again
KEPT: Final = 10_000


class Tokens(Protocol):
    async def by_token(self, hash: bytes, /) -> Account | None: ...
    async def by_token_id(self, id: str, /) -> Account | None: ...


class Auth:
    """By hash here, too: neither memory nor the time that a comparison takes tells a token."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[bytes | str, tuple[float, Account]] = {}

    async def account(self, authorization: str | None) -> Account:
        """By `Bearer` or `Token`, whatever their case; the token is all after the first space. Raises `NoToken`."""
        if not authorization:
            raise NoToken
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token.strip():
            raise BadToken
        return await self._fresh(digest(token.strip()), self._tokens.by_token)

    async def by_id(self, id: str) -> Account:
        """Of a token that somebody has shown before. Raises `BadToken` once it has ended."""
        return await self._fresh(id, self._tokens.by_token_id)

    def forget(self) -> None:
        """Tokens or accounts were changed here: all are looked up again. Other gateways notice within `FRESH`."""
        self._known = {}

    async def _fresh(self, key: K, look_up: Callable[[K], Awaitable[Account | None]]) -> Account:
        until, account = self._known.get(key, (0.0, None))
        if account is None or self._clock() >= until:
            account = await self._looked_up(key, look_up)
        return account

    async def _looked_up(self, key: K, look_up: Callable[[K], Awaitable[Account | None]]) -> Account:
        known, asked = self._known, self._clock()
        account = await look_up(key)
        if account is None:
            known.pop(key, None)
            raise BadToken
        if len(known) >= KEPT:
            known.clear()
        # Into what was there before the question: if it was forgotten meanwhile, so is the answer.
        known[key] = asked + (FRESH if account.lasts is None else min(FRESH, account.lasts)), account
        return account
