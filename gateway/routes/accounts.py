"""/account: the one that the token belongs to; /accounts: all of them, for admins."""

from typing import Annotated, Final, Literal

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.auth.authenticator import Authenticator
from gateway.errors import NotFound, Unprocessable
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, page_cursor, page_response, read_json
from gateway.openapi.operations import operation, page_of
from gateway.settings import MAX_PER_MINUTE
from gateway.store.accounts import AccountStore, Profile
from gateway.versions.pushes import check_name
from gateway.views.accounts import AccountView, ProfileView, account_view, profile_view

PAGE_SIZE: Final = 100

Type = Literal["user", "organization"]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")]
Link = Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s\x00]+\Z", extra_json_schema={"format": "uri"})]
Limit = Annotated[int, Meta(ge=0, le=MAX_PER_MINUTE)]


class AccountChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of an update; what is left out stays, and null removes a value."""

    type: Type | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    github_url: Link | UnsetType | None = UNSET
    avatar_url: Link | UnsetType | None = UNSET
    creates_per_minute: Limit | UnsetType | None = UNSET
    """0 for no limit; null for the limit in the settings."""
    others_per_minute: Limit | UnsetType | None = UNSET
    """0 for no limit; null for the limit in the settings."""

    def changed_fields(self) -> dict[str, object]:
        """Return the fields that the body has."""
        fields = structs.asdict(self)
        return {name: fields[name] for name in AccountChanges.__struct_fields__ if fields[name] is not UNSET}


class NewAccount(AccountChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that creates an account."""

    username: str


@get("/account", operation_id="account.get", operation_class=operation(AccountView))
async def get_own_account(request: AnyRequest) -> Response[bytes]:
    """Get the account that the token belongs to."""
    return json_response(account_view(await authenticate(request)))


@post("/accounts", operation_id="accounts.create", operation_class=operation(ProfileView, body=NewAccount))
async def create_account(request: AnyRequest, account_store: NamedDependency[AccountStore]) -> Response[bytes]:
    """Create an account.

    It has no token yet. Its name is the owner of its models.
    """
    await authenticate(request, "admin")
    body = await read_json(request, NewAccount)
    check_name("username", body.username)
    profile = await account_store.create(body.username, {"name": body.username, **body.changed_fields()})
    if profile is None:
        raise Unprocessable(f"username: there is an account {body.username} already.")
    return json_response(profile_view(profile), 201)


@get("/accounts", operation_id="accounts.list", operation_class=page_of(ProfileView, refuses=(400, 403)))
async def list_accounts(request: AnyRequest, account_store: NamedDependency[AccountStore]) -> Response[bytes]:
    """List all accounts, newest first."""
    await authenticate(request, "admin")
    page = await account_store.page(page_cursor(request), PAGE_SIZE)
    return page_response(request, page, [profile_view(profile) for profile in page.rows])


@get("/accounts/{username:str}", operation_id="accounts.get", operation_class=operation(ProfileView, refuses=(403,)))
async def get_account(
    request: AnyRequest, username: FromPath[str], account_store: NamedDependency[AccountStore]
) -> Response[bytes]:
    """Get an account and its limits."""
    await authenticate(request, "admin")
    return json_response(profile_view(_require(username, await account_store.get(username))))


@patch(
    "/accounts/{username:str}",
    operation_id="accounts.update",
    operation_class=operation(ProfileView, body=AccountChanges),
)
async def update_account(
    request: AnyRequest,
    username: FromPath[str],
    account_store: NamedDependency[AccountStore],
    authenticator: NamedDependency[Authenticator],
) -> Response[bytes]:
    """Update an account.

    Fields that are left out stay as they are; null removes a link, or a limit that is the account's own.
    """
    await authenticate(request, "admin")
    changes = await read_json(request, AccountChanges)
    profile = _require(username, await account_store.update(username, changes.changed_fields()))
    authenticator.forget()
    return json_response(profile_view(profile))


@delete(
    "/accounts/{username:str}",
    operation_id="accounts.delete",
    operation_class=operation(refuses=(422,)),
    status_code=204,
)
async def delete_account(
    request: AnyRequest,
    username: FromPath[str],
    account_store: NamedDependency[AccountStore],
    authenticator: NamedDependency[Authenticator],
) -> None:
    """Delete an account that has made no predictions.

    Its tokens, files and deployments are deleted with it. Its models stay.
    """
    account = await authenticate(request, "admin")
    if username == account.username:
        raise Unprocessable(
            "This is the account that your own token belongs to. Delete it with a token of another one."
        )
    if not await account_store.delete(username):
        raise NotFound(f"There is no account {username}.")
    authenticator.forget()


router = Router(
    "/",
    route_handlers=[get_own_account, create_account, list_accounts, get_account, update_account, delete_account],
    tags=["account"],
)


def _require(username: str, profile: Profile | None) -> Profile:
    """Return the profile. Raises `NotFound` if there is none."""
    if profile is None:
        raise NotFound(f"There is no account {username}.")
    return profile
