"""Authentication by a token in the Authorization header; the gateway knows tokens by their hashes only."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account, hash_token

K = TypeVar("K", bytes, str)

CACHE_SECONDS: Final = 10.0  # a token is not looked up again for this long
MAX_CACHED: Final = 10_000


class AccountLookup(Protocol):
    """The database's lookups of accounts by token."""

    async def find_by_token(self, hash: bytes, /) -> Account | None: ...
    async def find_by_token_id(self, id: str, /) -> Account | None: ...


class Authenticator:
    """Finds the account of a request's token, and caches it for `CACHE_SECONDS`.

    The cache is keyed by hash, too: neither memory nor the time that a comparison takes reveals a token.
    """

    def __init__(self, accounts: AccountLookup, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._clock = clock
        self._cache: dict[bytes | str, tuple[float, Account]] = {}

    async def authenticate(self, authorization: str | None) -> Account:
        """Return the account of an Authorization header.

        The scheme is `Bearer` or `Token`, in any case; the token is all after the first space. Raises `NoToken`.
        """
        if not authorization:
            raise NoToken
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token.strip():
            raise BadToken
        return await self._find_cached(hash_token(token.strip()), self._accounts.find_by_token)

    async def authenticate_token_id(self, id: str) -> Account:
        """Return the account of a token that was shown before. Raises `BadToken` once it has ended."""
        return await self._find_cached(id, self._accounts.find_by_token_id)

    def forget(self) -> None:
        """Empty the cache, after tokens or accounts changed here.

        Other gateways notice within `CACHE_SECONDS`.
        """
        self._cache = {}

    async def _find_cached(self, key: K, look_up: Callable[[K], Awaitable[Account | None]]) -> Account:
        until, account = self._cache.get(key, (0.0, None))
        if account is None or self._clock() >= until:
            account = await self._find(key, look_up)
        return account

    async def _find(self, key: K, look_up: Callable[[K], Awaitable[Account | None]]) -> Account:
        cache, asked_at = self._cache, self._clock()
        account = await look_up(key)
        if account is None:
            cache.pop(key, None)
            raise BadToken
        if len(cache) >= MAX_CACHED:
            cache.clear()
        # Into the cache from before the lookup: if that was dropped meanwhile, so is this answer.
        lifetime = CACHE_SECONDS if account.expires_in is None else min(CACHE_SECONDS, account.expires_in)
        cache[key] = asked_at + lifetime, account
        return account
