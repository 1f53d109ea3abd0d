"""`samovar tokens …`, `samovar accounts …` and `samovar account`, as they are typed."""

from typing import Annotated, Final, Literal

from cyclopts import App, Parameter, validators

from deploy.cli.commands.options import LOCAL, Json, Token, Url, Yes

tokens: Final = App(name="tokens", help="Make tokens for clients, look at them, revoke them.")
accounts: Final = App(name="accounts", help="Look after accounts; needs a token with the scope admin.")
account: Final = App(name="account", help="Show the account that the token belongs to.")

Scopes = Annotated[
    tuple[Literal["predict", "write", "admin"], ...],
    Parameter(name=["--scope", "-s"], negative=()),
]
Limit = Annotated[int | None, Parameter(validator=validators.Number(gte=0))]
TokenLimit = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
Type = Literal["user", "organization"]


@account.default
def show_account(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """Show the account that the token belongs to."""
    from deploy.cli.accounts import show
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show(api.get("/v1/account"), as_json=json)


@tokens.command(name="list")
def list_tokens(*, account: str | None = None, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """Your tokens, newest first: id, name, first characters, scopes, when each was made and expires.

    Parameters
    ----------
    account
        Those of another account; for admins.
    """
    from deploy.cli.accounts import list_tokens
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_tokens(api, account, as_json=json)


@tokens.command(name="create")
def create_token(
    name: str = "",
    *,
    scope: Scopes,
    expires_in: str | None = None,
    account: str | None = None,
    creates_per_minute: TokenLimit = None,
    others_per_minute: TokenLimit = None,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Make a token, and print it. It is told this once.

    Parameters
    ----------
    name
        What it is for.
    scope
        What it allows, given again for each: predict, write (change models, tokens, …), admin (for other accounts).
    expires_in
        How long it lasts: 12h, 30d, 45m, 90s.
    account
        For another account than your own; for admins.
    creates_per_minute
        Predictions and trainings that it may create.
    others_per_minute
        Other calls that it may make.
    """
    from deploy.cli.accounts import create_token, seconds
    from deploy.cli.client.api import reached

    wanted = {
        "name": name,
        "scopes": list(scope),
        "expires_in": None if expires_in is None else seconds(expires_in),
        "account": account,
        "creates_per_minute": creates_per_minute,
        "others_per_minute": others_per_minute,
    }
    with reached(url, token) as api:
        create_token(api, wanted, as_json=json)


@tokens.command(name="revoke")
def revoke_token(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """Make a token stop working.

    Parameters
    ----------
    id
        Of the token, as `samovar tokens list` has it.
    """
    from deploy.cli.accounts import path
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        api.delete(path("tokens", id))
    print(f"revoked {id}")


@accounts.command(name="list")
def list_accounts(*, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """All accounts, newest first: user name, type, name, limits of their own."""
    from deploy.cli.accounts import list_accounts
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        list_accounts(api, as_json=json)


@accounts.command(name="show")
def show_an_account(username: str, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """An account, with its limits."""
    from deploy.cli.accounts import path, show
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        show(api.get(path("accounts", username)), as_json=json)


@accounts.command(name="create")
def create_account(
    username: str,
    *,
    type: Type | None = None,
    name: str | None = None,
    github_url: str | None = None,
    avatar_url: str | None = None,
    creates_per_minute: Limit = None,
    others_per_minute: Limit = None,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Make an account. `samovar tokens create --account` makes tokens for it.

    Parameters
    ----------
    username
        The owner of its models.
    creates_per_minute
        Predictions and trainings that it may create; 0 for no limit.
    others_per_minute
        Other calls that it may make.
    """
    from deploy.cli.accounts import given, show
    from deploy.cli.client.api import reached

    wanted = given(type, name, github_url, avatar_url, creates_per_minute, others_per_minute)
    with reached(url, token) as api:
        show(api.post("/v1/accounts", {"username": username, **wanted}), as_json=json)


@accounts.command(name="update")
def update_account(
    username: str,
    *,
    type: Type | None = None,
    name: str | None = None,
    github_url: str | None = None,
    avatar_url: str | None = None,
    creates_per_minute: Limit = None,
    others_per_minute: Limit = None,
    unset: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Change what is given of an account.

    Parameters
    ----------
    creates_per_minute
        Predictions and trainings that it may create; 0 for no limit.
    others_per_minute
        Other calls that it may make.
    unset
        A field to take away, such as others_per_minute; given again for each.
    """
    from deploy.cli.accounts import given, path, show
    from deploy.cli.client.api import reached

    changes = given(type, name, github_url, avatar_url, creates_per_minute, others_per_minute)
    gone = {field.replace("-", "_"): None for field in unset}
    with reached(url, token) as api:
        show(api.patch(path("accounts", username), {**changes, **gone}), as_json=json)


@accounts.command(name="delete")
def delete_account(username: str, *, yes: Yes = False, url: Url = LOCAL, token: Token = None) -> int:
    """Delete an account that has made no predictions, with its tokens and files.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from deploy.cli.accounts import delete_account
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        return delete_account(api, username, sure=yes)
