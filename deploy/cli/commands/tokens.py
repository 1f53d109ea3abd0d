"""The commands `samovar tokens …`."""

from typing import Annotated, Final, Literal
from urllib.parse import quote, urlencode

from cyclopts import App, Parameter, validators

from deploy.cli.client.api import connect
from deploy.cli.client.times import parse_span
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url
from deploy.cli.terminal.output import Cells, Item, format_json, print_items, print_message

tokens: Final = App(name="tokens")

COLUMNS: Final = ("id", "name", "begins with", "scopes", "created", "expires")

Scopes = Annotated[
    tuple[Literal["predict", "write", "admin"], ...],
    Parameter(name=["--scope", "-s"], negative=()),
]
RateLimit = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]


@tokens.command(name="list")
def list_tokens(
    *, account: str | None = None, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None
) -> None:
    """List your tokens, newest first: id, name, first characters, scopes, and when each was created and expires.

    Parameters
    ----------
    account
        List the tokens of this account instead; for admins.
    """
    query = "?" + urlencode({"account": account}) if account else ""
    with connect(url, token) as api:
        print_items(list(api.list_items(f"/v1/tokens{query}")), COLUMNS, _token_cells, as_json=as_json)


@tokens.command(name="create")
def create_token(
    name: str = "",
    *,
    scope: Scopes,
    expires_in: str | None = None,
    account: str | None = None,
    creates_per_minute: RateLimit = None,
    others_per_minute: RateLimit = None,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Create a token and print it. It is shown only this once.

    Parameters
    ----------
    name
        What the token is for.
    scope
        What the token allows: predict, write (change models, tokens, …), admin (act for other accounts). Repeat it for
        each scope.
    expires_in
        How long the token lasts: 12h, 30d, 45m, 90s.
    account
        Create the token for this account instead of your own; for admins.
    creates_per_minute
        The number of predictions and trainings that the token may create.
    others_per_minute
        The number of other requests that the token may make.
    """
    fields = {
        "name": name,
        "scopes": list(scope),
        "expires_in": None if expires_in is None else parse_span(expires_in),
        "account": account,
        "creates_per_minute": creates_per_minute,
        "others_per_minute": others_per_minute,
    }
    with connect(url, token) as api:
        created = api.post("/v1/tokens", {name: value for name, value in fields.items() if value is not None})
    if as_json:
        print(format_json(created))
        return
    expiry = f"until {created['expires_at']}" if "expires_at" in created else "until you revoke it"
    print_message(f"token {created['id']} of {created['account']} is valid {expiry}; it is shown only this once")
    print(created["token"])  # alone on stdout, so that a script can store it


@tokens.command(name="revoke")
def revoke_token(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Revoke a token, so that it stops working.

    Parameters
    ----------
    id
        The id of the token, as `samovar tokens list` shows it.
    """
    with connect(url, token) as api:
        api.delete(f"/v1/tokens/{quote(id, safe='')}")
    print(f"revoked {id}")


def _token_cells(token: Item) -> Cells:
    expires = token.get("expires_at") or "never"
    return token["id"], token["name"], token["hint"], ",".join(token["scopes"]), token["created_at"], expires
