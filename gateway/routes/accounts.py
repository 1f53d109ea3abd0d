"""/accounts: who there is, for those who look after it."""

from typing import Annotated, Final, Literal

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.errors import NotFound, Unprocessable
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, read
from gateway.openapi.operations import PageOperation
from gateway.routes.account_operations import CreateAccount, UpdateAccount
from gateway.settings import MOST
from gateway.store.accounts import Profile
from gateway.versions.pushes import check_name
from gateway.views.accounts import profile_view

PAGE: Final = 100

Type = Literal["user", "organization"]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")]
Link = Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s\x00]+\Z")]
Limit = Annotated[int, Meta(ge=0, le=MOST)]


class Changes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays; null takes away."""

    type: Type | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    github_url: Link | UnsetType | None = UNSET
    avatar_url: Link | UnsetType | None = UNSET
    creates_per_minute: Limit | UnsetType | None = UNSET
    others_per_minute: Limit | UnsetType | None = UNSET

    def given(self) -> dict[str, object]:
        fields = structs.asdict(self)
        return {name: fields[name] for name in Changes.__struct_fields__ if fields[name] is not UNSET}


class Wanted(Changes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    username: str


@post("/accounts", operation_id="accounts.create", operation_class=CreateAccount)
async def create(request: AnyRequest) -> Response[bytes]:
    """An account, with no token yet. Its name is the owner of its models."""
    await caller(request, "admin")
    wanted = await read(request, Wanted)
    check_name("username", wanted.username)
    made = await parts(request).accounts.create(wanted.username, {"name": wanted.username, **wanted.given()})
    if made is None:
        raise Unprocessable(f"username: there is an account {wanted.username} already.")
    return answer(profile_view(made), 201)


@get("/accounts", operation_id="accounts.list", operation_class=PageOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """All accounts, newest first."""
    await caller(request, "admin")
    found = await parts(request).accounts.page(cursor(request), PAGE)
    return paged(request, found, [profile_view(profile) for profile in found.rows])


@get("/accounts/{username:str}", operation_id="accounts.get")
async def show(request: AnyRequest, username: FromPath[str]) -> Response[bytes]:
    """An account and its limits."""
    await caller(request, "admin")
    return answer(profile_view(_there(username, await parts(request).accounts.get(username))))


@patch("/accounts/{username:str}", operation_id="accounts.update", operation_class=UpdateAccount)
async def update(request: AnyRequest, username: FromPath[str]) -> Response[bytes]:
    """Change what is given of an account; null takes a link or a limit of its own away."""
    await caller(request, "admin")
    here = parts(request)
    changes = await read(request, Changes)
    changed = _there(username, await here.accounts.update(username, changes.given()))
    here.auth.forget()
    return answer(profile_view(changed))


@delete("/accounts/{username:str}", operation_id="accounts.delete", status_code=204)
async def remove(request: AnyRequest, username: FromPath[str]) -> None:
    """An account that has made no predictions, with its tokens, files and deployments. Its models stay."""
    account = await caller(request, "admin")
    if username == account.username:
        raise Unprocessable(
            "This is the account that your own token belongs to. Delete it with a token of another one."
        )
    here = parts(request)
    if not await here.accounts.delete(username):
        raise NotFound(f"There is no account {username}.")
    here.auth.forget()


router = Router("/", route_handlers=[create, page, show, update, remove], tags=["account"])


def _there(username: str, profile: Profile | None) -> Profile:
    """Raises `NotFound`."""
    if profile is None:
        raise NotFound(f"There is no account {username}.")
    return profile
