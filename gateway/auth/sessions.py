"""Who calls from a browser: a signed cookie that stands for a token, and counts on pages of our own only."""

import base64
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account

COOKIE: Final = "samovar_session"
LASTS: Final = 7 * 24 * 3600  # seconds
ELSEWHERE: Final = "The cookie of a session counts on pages of this site only: send a token."


class Sessions:
    """`clock` tells the seconds since 1970: every gateway reads the same expiry."""

    def __init__(self, by_id: Callable[[str], Awaitable[Account]], secret: bytes, clock: Callable[[], float]) -> None:
        self._by_id = by_id
        self._secret = secret
        self._clock = clock

    def begin(self, account: Account) -> str:
        """The value of a cookie for who has just shown a token. It holds the token's id, not the token."""
        said = f"{account.token}.{int(self._clock()) + LASTS}"
        return f"{said}.{self._mac(said)}"

    async def account(self, value: str) -> Account:
        """Raises `BadToken` once the session, or the token that it stands for, has ended."""
        said, _, mac = value.rpartition(".")
        token, _, expiry = said.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(said).encode()) or self._clock() >= int(expiry):
            raise BadToken
        return await self._by_id(token)

    def _mac(self, said: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._secret, said.encode(), "sha256")).decode().rstrip("=")


def shown(cookies: str | None) -> str | None:
    """The value of our cookie in a Cookie header, whatever others of this host look like."""
    pairs = (each.strip().partition("=") for each in (cookies or "").split(";"))
    return next((value for name, _, value in pairs if name == COOKIE and value), None)


def cookie(value: str, *, secure: bool) -> str:
    """A Set-Cookie header; without a value it ends the session."""
    age = LASTS if value else 0
    fields = [f"{COOKIE}={value}", "Path=/", f"Max-Age={age}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*fields, "Secure"] if secure else fields)


def same_origin(method: str, origin: str | None, site: str | None, homes: frozenset[str]) -> None:
    """Raises `NoToken` for a request that a page of another origin may have caused.

    `origin` and `site` are the headers Origin and Sec-Fetch-Site, which pages cannot forge; `homes` are the origins
    that we answer at. Browsers leave Origin out of harmless requests only.
    """
    if origin is None and method not in {"GET", "HEAD"}:
        raise NoToken(ELSEWHERE)
    if (origin is not None and origin not in homes) or site not in {None, "same-origin", "none"}:
        raise NoToken(ELSEWHERE)
