"""Who calls: a token in the Authorization header, known to us by its hash only."""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account, digest

FRESH: Final = 10.0  # seconds for which a token is not looked up again
KEPT: Final = 10_000


class Tokens(Protocol):
    async def by_token(self, hash: bytes, /) -> Account | None: ...


class Auth:
    """By hash here, too: neither memory nor the time that a comparison takes tells a token."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[bytes, tuple[float, Account]] = {}

    async def account(self, authorization: str | None) -> Account:
        """By `Bearer` or `Token`, whatever their case; the token is all after the first space. Raises `NoToken`."""
        if not authorization:
            raise NoToken
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token.strip():
            raise BadToken
        hash = digest(token.strip())
        until, account = self._known.get(hash, (0.0, None))
        if account is None or self._clock() >= until:
            account = await self._looked_up(hash)
        return account

    def forget(self) -> None:
        """Tokens or accounts were changed here: all are looked up again. Other gateways notice within `FRESH`."""
        self._known = {}

    async def _looked_up(self, hash: bytes) -> Account:
        known, asked = self._known, self._clock()
        account = await self._tokens.by_token(hash)
        if account is None:
            known.pop(hash, None)
            raise BadToken
        if len(known) >= KEPT:
            known.clear()
        # Into what was there before the question: if it was forgotten meanwhile, so is the answer.
        known[hash] = asked + (FRESH if account.lasts is None else min(FRESH, account.lasts)), account
        return account
