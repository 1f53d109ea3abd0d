"""Accounts and tokens as the API shows them."""

from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType, convert, structs

from gateway.store.accounts import Account, Profile
from gateway.store.tokens import Token
from gateway.times import format_rfc3339

T = TypeVar("T", bound=Struct)


class AccountView(Struct, kw_only=True):
    """An account."""

    type: str
    username: str
    name: str
    github_url: str | UnsetType = UNSET
    avatar_url: str | UnsetType = UNSET


class ProfileView(AccountView, kw_only=True):
    """An account with its rate limits, for administrators."""

    creates_per_minute: int | UnsetType = UNSET
    others_per_minute: int | UnsetType = UNSET
    created_at: str


class TokenView(Struct, kw_only=True):
    """A token without its text."""

    id: str
    account: str
    name: str
    hint: str
    scopes: list[str]
    creates_per_minute: int | UnsetType = UNSET
    others_per_minute: int | UnsetType = UNSET
    created_at: str
    expires_at: str | UnsetType = UNSET


class NewTokenView(TokenView, kw_only=True):
    """A token that was just created, with its text."""

    token: str


def account_view(account: Account) -> AccountView:
    """Return the view of an account."""
    return _view(account, AccountView)


def profile_view(profile: Profile) -> ProfileView:
    """Return the view of an account for administrators."""
    return _view(profile, ProfileView, created_at=format_rfc3339(profile.created_at))


def token_view(token: Token) -> TokenView:
    """Return the view of a token."""
    return _view(token, TokenView, **_time_fields(token))


def new_token_view(token: Token, text: str) -> NewTokenView:
    """Return the view of a token that was just created."""
    return _view(token, NewTokenView, token=text, **_time_fields(token))


def _time_fields(token: Token) -> dict[str, str | None]:
    expires_at = None if token.expires_at is None else format_rfc3339(token.expires_at)
    return {"created_at": format_rfc3339(token.created_at), "expires_at": expires_at}


def _view(source: Struct, kind: type[T], **instead: Any) -> T:
    """Build a view with the fields that have a value."""
    fields = {**structs.asdict(source), **instead}
    return convert({name: value for name, value in fields.items() if value is not None}, kind)
