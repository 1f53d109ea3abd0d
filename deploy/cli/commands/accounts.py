"""The commands `samovar accounts …` and `samovar account`."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from cyclopts import App, Parameter, validators

from deploy.cli.client.api import connect
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url, Yes
from deploy.cli.terminal.output import Cells, Item, confirm, format_json, print_items, print_message, print_table

accounts: Final = App(name="accounts")

FIELDS: Final = ("type", "name", "github_url", "avatar_url", "creates_per_minute", "others_per_minute")
COLUMNS: Final = ("account", "type", "name", "creates per minute", "others per minute")

RateLimit = Annotated[int | None, Parameter(validator=validators.Number(gte=0))]
AccountType = Literal["user", "organization"]


def account(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show the account that your token belongs to."""
    with connect(url, token) as api:
        _print_account(api.get("/v1/account"), as_json=as_json)


@accounts.command(name="list")
def list_accounts(*, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List all accounts, newest first: user name, type, name, and rate limits of their own."""
    with connect(url, token) as api:
        print_items(list(api.list_items("/v1/accounts")), COLUMNS, _account_cells, as_json=as_json)


@accounts.command(name="show")
def show_account(username: str, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show an account and its rate limits."""
    with connect(url, token) as api:
        _print_account(api.get(_account_path(username)), as_json=as_json)


@accounts.command(name="create")
def create_account(
    username: str,
    *,
    type: AccountType | None = None,
    name: str | None = None,
    github_url: str | None = None,
    avatar_url: str | None = None,
    creates_per_minute: RateLimit = None,
    others_per_minute: RateLimit = None,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Create an account. Then make tokens for it with `samovar tokens create --account`.

    Parameters
    ----------
    username
        The name of the account, and the owner of its models.
    creates_per_minute
        The number of predictions and trainings that the account may create; 0 for no limit.
    others_per_minute
        The number of other requests that the account may make; 0 for no limit.
    """
    fields = _set_fields(type, name, github_url, avatar_url, creates_per_minute, others_per_minute)
    with connect(url, token) as api:
        _print_account(api.post("/v1/accounts", {"username": username, **fields}), as_json=as_json)


@accounts.command(name="update")
def update_account(
    username: str,
    *,
    type: AccountType | None = None,
    name: str | None = None,
    github_url: str | None = None,
    avatar_url: str | None = None,
    creates_per_minute: RateLimit = None,
    others_per_minute: RateLimit = None,
    unset: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Change the fields of an account that you name; the others stay as they are.

    Parameters
    ----------
    creates_per_minute
        The number of predictions and trainings that the account may create; 0 for no limit.
    others_per_minute
        The number of other requests that the account may make; 0 for no limit.
    unset
        A field to remove, such as others_per_minute. Repeat it for each field.
    """
    fields = _set_fields(type, name, github_url, avatar_url, creates_per_minute, others_per_minute)
    removed = {field.replace("-", "_"): None for field in unset}
    with connect(url, token) as api:
        _print_account(api.patch(_account_path(username), {**fields, **removed}), as_json=as_json)


@accounts.command(name="delete")
def delete_account(username: str, *, yes: Yes = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Delete an account that has made no predictions, together with its tokens and files."""
    path = _account_path(username)
    with connect(url, token) as api:
        api.get(path)  # an account that does not exist is reported before anybody is asked
        if not yes and not confirm(f"Delete the account {username} with its tokens and files? Its models stay."):
            print_message("nothing was deleted")
            return 1
        api.delete(path)
    print(f"deleted {username}")
    return 0


def _set_fields(*values: object) -> dict[str, object]:
    """Return the values by the names in `FIELDS`, without those that are None."""
    return {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}


def _account_path(username: str) -> str:
    return f"/v1/accounts/{quote(username, safe='')}"


def _account_cells(account: Item) -> Cells:
    limits = account.get("creates_per_minute"), account.get("others_per_minute")
    return account["username"], account["type"], account["name"], *limits


def _print_account(account: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(format_json(account))
    else:
        print_table(("field", "value"), list(account.items()))
