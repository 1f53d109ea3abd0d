"""/tokens: what clients show to be let in."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from gateway import ids
from gateway.errors import BadToken, Forbidden, NotFound, Unprocessable
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, read
from gateway.routes.account_operations import CreateToken, TokensOf
from gateway.settings import MOST
from gateway.store.accounts import Account, Right
from gateway.views.accounts import new_token_view, token_view

PAGE: Final = 100
LONGEST: Final = 100 * 366 * 86_400  # seconds

Name = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*\Z")]
Limit = Annotated[int, Meta(ge=1, le=MOST)]


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scopes: Annotated[list[Right], Meta(min_length=1, max_length=10)]
    name: Name = ""
    expires_in: Annotated[int, Meta(ge=1, le=LONGEST)] | None = None
    expires_at: datetime | None = None
    account: str | None = None
    creates_per_minute: Limit | None = None
    others_per_minute: Limit | None = None


@post("/tokens", operation_id="tokens.create", operation_class=CreateToken)
async def create(request: AnyRequest) -> Response[bytes]:
    """A token, told this once. It has only scopes that yours has, and expires with yours at the latest."""
    account = await caller(request, "write")
    here = parts(request)
    wanted = await read(request, Wanted)
    username = _whose(account, wanted.account)
    if lacking := sorted(set(wanted.scopes) - account.scopes):
        raise Forbidden(f"scopes: your own token lacks {', '.join(lacking)}, so it cannot give that.")
    if not await _there(request, username):
        raise Unprocessable(f"account: there is no account {username}.")
    text = ids.draw_token()
    made = await here.tokens.create(
        text,
        account.token,
        username,
        name=wanted.name,
        scopes=sorted(set(wanted.scopes)),
        expires_at=expiry(wanted, datetime.now(UTC)),
        creates_per_minute=wanted.creates_per_minute,
        others_per_minute=wanted.others_per_minute,
    )
    if made is None:
        raise BadToken  # revoked or expired since it was looked up
    return answer(new_token_view(made, text), 201, {"Cache-Control": "no-store"})


@get("/tokens", operation_id="tokens.list", operation_class=TokensOf)
async def page(request: AnyRequest) -> Response[bytes]:
    """Your tokens, newest first, without their texts; of another account for admins."""
    account = await caller(request)
    username = _whose(account, request.query_params.get("account"))
    if not await _there(request, username):
        raise NotFound(f"There is no account {username}.")
    found = await parts(request).tokens.page(username, cursor(request), PAGE)
    return paged(request, found, [token_view(token) for token in found.rows])


@delete("/tokens/{token_id:str}", operation_id="tokens.delete", status_code=204)
async def revoke(request: AnyRequest, token_id: FromPath[str]) -> None:
    """The token stops working: here at once, at other gateways within ten seconds."""
    account = await caller(request, "write")
    here = parts(request)
    whose = None if "admin" in account.scopes else account.id
    if not await here.tokens.revoke(token_id, whose, account.scopes):
        if await here.tokens.has(token_id, whose):
            raise Forbidden("That token has scopes that your own lacks, so yours cannot revoke it.")
        raise NotFound
    here.auth.forget()


router = Router("/", route_handlers=[create, page, revoke], tags=["account"])


def expiry(wanted: Wanted, now: datetime) -> datetime | None:
    """Raises `Unprocessable`."""
    if wanted.expires_in is not None:
        if wanted.expires_at is not None:
            raise Unprocessable("expires_in: give it or expires_at, not both.")
        return now + timedelta(seconds=wanted.expires_in)
    at = wanted.expires_at
    if at is None:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not now < at < now + timedelta(seconds=LONGEST):
        raise Unprocessable("expires_at: give a moment to come, such as 2036-01-31T12:00:00Z, within a hundred years.")
    return at


def _whose(account: Account, asked: str | None) -> str:
    """Raises `Forbidden`."""
    if asked is None or asked == account.username:
        return account.username
    if "admin" not in account.scopes:
        raise Forbidden("account: only tokens with the scope admin may name another one.")
    return asked


async def _there(request: AnyRequest, username: str) -> bool:
    return "\0" not in username and await parts(request).accounts.named(username)
