"""Accounts and tokens as clients see them."""

from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType, convert, structs

from gateway.store.accounts import Account, Profile
from gateway.store.tokens import Token
from gateway.times import rfc3339

T = TypeVar("T", bound=Struct)


class AccountView(Struct, kw_only=True):
    type: str
    username: str
    name: str
    github_url: str | UnsetType = UNSET
    avatar_url: str | UnsetType = UNSET


class ProfileView(AccountView, kw_only=True):
    creates_per_minute: int | UnsetType = UNSET
    others_per_minute: int | UnsetType = UNSET
    created_at: str


class TokenView(Struct, kw_only=True):
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
    token: str


def account_view(account: Account) -> AccountView:
    return _view(account, AccountView)


def profile_view(profile: Profile) -> ProfileView:
    return _view(profile, ProfileView, created_at=rfc3339(profile.created_at))


def token_view(token: Token) -> TokenView:
    return _view(token, TokenView, **_times(token))


def new_token_view(token: Token, text: str) -> NewTokenView:
    return _view(token, NewTokenView, token=text, **_times(token))


def _times(token: Token) -> dict[str, str | None]:
    expires_at = None if token.expires_at is None else rfc3339(token.expires_at)
    return {"created_at": rfc3339(token.created_at), "expires_at": expires_at}


def _view(shown: Struct, kind: type[T], **instead: Any) -> T:
    """With the fields that there is something to say of."""
    fields = {**structs.asdict(shown), **instead}
    return convert({name: value for name, value in fields.items() if value is not None}, kind)
