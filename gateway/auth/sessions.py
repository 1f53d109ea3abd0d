"""Sessions of the website: a signed cookie that stands for a token, and counts on our own pages only."""

import base64
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.errors import BadToken, NoToken
from gateway.store.accounts import Account

COOKIE_NAME: Final = "samovar_session"
SESSION_SECONDS: Final = 7 * 24 * 3600  # seconds
OTHER_ORIGIN: Final = "A session cookie works on pages of this site only. Send a token instead."


class Sessions:
    """Creates and checks session cookies.

    `clock` gives the seconds since 1970, so every gateway reads the same expiry.
    """

    def __init__(
        self, authenticate_token_id: Callable[[str], Awaitable[Account]], secret: bytes, clock: Callable[[], float]
    ) -> None:
        self._authenticate_token_id = authenticate_token_id
        self._secret = secret
        self._clock = clock

    def create(self, account: Account) -> str:
        """Return the value of a cookie for an account whose token was just shown.

        It holds the token's id, not the token.
        """
        payload = f"{account.token}.{int(self._clock()) + SESSION_SECONDS}"
        return f"{payload}.{self._mac(payload)}"

    async def authenticate(self, value: str) -> Account:
        """Return the account of a cookie's value.

        Raises `BadToken` once the session, or the token that it stands for, has ended.
        """
        payload, _, mac = value.rpartition(".")
        token, _, expiry = payload.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(payload).encode()) or self._clock() >= int(expiry):
            raise BadToken
        return await self._authenticate_token_id(token)

    def _mac(self, payload: str) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._secret, payload.encode(), "sha256")).decode().rstrip("=")


def find_cookie(cookies: str | None) -> str | None:
    """Return the value of our cookie in a Cookie header, whatever the host's other cookies look like."""
    pairs = (each.strip().partition("=") for each in (cookies or "").split(";"))
    return next((value for name, _, value in pairs if name == COOKIE_NAME and value), None)


def format_cookie(value: str, *, secure: bool) -> str:
    """Return a Set-Cookie header; without a value it ends the session."""
    age = SESSION_SECONDS if value else 0
    fields = [f"{COOKIE_NAME}={value}", "Path=/", f"Max-Age={age}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*fields, "Secure"] if secure else fields)


def require_same_origin(method: str, origin: str | None, site: str | None, own_origins: frozenset[str]) -> None:
    """Refuse a request that a page of another origin may have caused, by raising `NoToken`.

    `origin` and `site` are the headers Origin and Sec-Fetch-Site, which pages cannot forge; `own_origins` are those
    that we answer at. Browsers leave Origin out of harmless requests only.
    """
    if origin is None and method not in {"GET", "HEAD"}:
        raise NoToken(OTHER_ORIGIN)
    if (origin is not None and origin not in own_origins) or site not in {None, "same-origin", "none"}:
        raise NoToken(OTHER_ORIGIN)
