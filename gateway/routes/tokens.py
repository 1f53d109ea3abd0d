"""/tokens: the tokens that clients authenticate with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct

from gateway import ids
from gateway.auth.authenticator import Authenticator
from gateway.errors import BadToken, Forbidden, NotFound, Unprocessable
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, page_cursor, page_response, read_json
from gateway.openapi.operations import operation, page_of
from gateway.openapi.parameters import OTHER_ACCOUNT
from gateway.settings import MAX_PER_MINUTE
from gateway.store.accounts import Account, AccountStore, Scope
from gateway.store.tokens import TokenStore
from gateway.views.accounts import NewTokenView, TokenView, new_token_view, token_view

PAGE_SIZE: Final = 100
MAX_EXPIRY_SECONDS: Final = 100 * 366 * 86_400  # seconds

Name = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*\Z")]
Limit = Annotated[int, Meta(ge=1, le=MAX_PER_MINUTE)]


class NewToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that creates a token."""

    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=10)]
    name: Name = ""
    expires_in: Annotated[int, Meta(ge=1, le=MAX_EXPIRY_SECONDS)] | None = None
    """Seconds from now."""
    expires_at: Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})] | None = None
    account: str | None = None
    """An account other than your own, for admins."""
    creates_per_minute: Limit | None = None
    others_per_minute: Limit | None = None


@post("/tokens", operation_id="tokens.create", operation_class=operation(NewTokenView, body=NewToken))
async def create_token(
    request: AnyRequest, account_store: NamedDependency[AccountStore], token_store: NamedDependency[TokenStore]
) -> Response[bytes]:
    """Create a token.

    Its text is shown only here. It has only scopes that your own token has, and expires with it at the latest.
    """
    account = await authenticate(request, "write")
    body = await read_json(request, NewToken)
    username = _account_name(account, body.account)
    if lacking := sorted(set(body.scopes) - account.scopes):
        raise Forbidden(f"scopes: your own token lacks {', '.join(lacking)}, so it cannot give that.")
    if not await _exists(username, account_store):
        raise Unprocessable(f"account: there is no account {username}.")
    text = ids.new_api_token()
    token = await token_store.create(
        text,
        account.token,
        username,
        name=body.name,
        scopes=sorted(set(body.scopes)),
        expires_at=parse_expiry(body, datetime.now(UTC)),
        creates_per_minute=body.creates_per_minute,
        others_per_minute=body.others_per_minute,
    )
    if token is None:
        raise BadToken  # revoked or expired since it was looked up
    return json_response(new_token_view(token, text), 201, {"Cache-Control": "no-store"})


@get("/tokens", operation_id="tokens.list", operation_class=page_of(TokenView, OTHER_ACCOUNT, refuses=(403, 404)))
async def list_tokens(
    request: AnyRequest, account_store: NamedDependency[AccountStore], token_store: NamedDependency[TokenStore]
) -> Response[bytes]:
    """List your tokens, newest first, without their texts.

    Admins can list those of another account.
    """
    account = await authenticate(request)
    username = _account_name(account, request.query_params.get("account"))
    if not await _exists(username, account_store):
        raise NotFound(f"There is no account {username}.")
    page = await token_store.page(username, page_cursor(request), PAGE_SIZE)
    return page_response(request, page, [token_view(token) for token in page.rows])


@delete("/tokens/{token_id:str}", operation_id="tokens.delete", operation_class=operation(), status_code=204)
async def revoke_token(
    request: AnyRequest,
    token_id: FromPath[str],
    token_store: NamedDependency[TokenStore],
    authenticator: NamedDependency[Authenticator],
) -> None:
    """Revoke a token.

    It stops working at once here, and within ten seconds at other gateways.
    """
    account = await authenticate(request, "write")
    owner = None if "admin" in account.scopes else account.id
    if not await token_store.revoke(token_id, owner, account.scopes):
        if await token_store.exists(token_id, owner):
            raise Forbidden("That token has scopes that your own lacks, so yours cannot revoke it.")
        raise NotFound
    authenticator.forget()


router = Router("/", route_handlers=[create_token, list_tokens, revoke_token], tags=["account"])


def parse_expiry(body: NewToken, now: datetime) -> datetime | None:
    """Return when a token expires; None for never. Raises `Unprocessable`."""
    if body.expires_in is not None:
        if body.expires_at is not None:
            raise Unprocessable("expires_in: give it or expires_at, not both.")
        return now + timedelta(seconds=body.expires_in)
    at = body.expires_at
    if at is None:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not now < at < now + timedelta(seconds=MAX_EXPIRY_SECONDS):
        raise Unprocessable("expires_at: give a moment to come, such as 2036-01-31T12:00:00Z, within a hundred years.")
    return at


def _account_name(account: Account, name: str | None) -> str:
    """Return the name of the account that a request is about. Raises `Forbidden`."""
    if name is None or name == account.username:
        return account.username
    if "admin" not in account.scopes:
        raise Forbidden("account: only tokens with the scope admin may name another one.")
    return name


async def _exists(username: str, account_store: AccountStore) -> bool:
    return "\0" not in username and await account_store.exists(username)
