"""What the commands about accounts and tokens do."""

import re
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from deploy.cli.client.api import Api
from deploy.cli.commands.delete import agreed
from deploy.cli.terminal.output import pretty, table
from deploy.errors import Unusable

FIELDS: Final = ("type", "name", "github_url", "avatar_url", "creates_per_minute", "others_per_minute")
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def list_tokens(api: Api, account: str | None, *, as_json: bool) -> None:
    query = "?" + urlencode({"account": account}) if account else ""
    found = list(api.pages(f"/v1/tokens{query}"))
    if as_json:
        print(pretty(found))
        return
    rows = [
        (t["id"], t["name"], t["hint"], ",".join(t["scopes"]), t["created_at"], t.get("expires_at") or "never")
        for t in found
    ]
    table(("id", "name", "begins with", "scopes", "created", "expires"), rows)


def create_token(api: Api, wanted: Mapping[str, Any], *, as_json: bool) -> None:
    """The token alone on stdout, so that it can be put where it belongs."""
    made = api.post("/v1/tokens", {name: value for name, value in wanted.items() if value is not None})
    if as_json:
        print(pretty(made))
        return
    until = f"until {made['expires_at']}" if "expires_at" in made else "until it is revoked"
    print(f"samovar: token {made['id']} of {made['account']}, {until}; it is told this once", file=sys.stderr)
    print(made["token"])


def seconds(text: str) -> int:
    """Of a time span such as 30d. Raises `Unusable`."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None or not int(found[1]):
        raise Unusable(f"--expires-in {text}: give a time span such as 90s, 45m, 12h or 30d")
    return int(found[1]) * UNITS[found[2]]


def list_accounts(api: Api, *, as_json: bool) -> None:
    found = list(api.pages("/v1/accounts"))
    if as_json:
        print(pretty(found))
        return
    rows = [
        (a["username"], a["type"], a["name"], a.get("creates_per_minute"), a.get("others_per_minute")) for a in found
    ]
    table(("account", "type", "name", "creates per minute", "others per minute"), rows)


def show(account: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(pretty(account))
        return
    table(("field", "value"), list(account.items()))


def delete_account(api: Api, username: str, *, sure: bool) -> int:
    """Returns the exit status."""
    where = path("accounts", username)
    api.get(where)  # what is not there is told of before anybody is asked
    if not sure and not agreed(f"Delete the account {username} with its tokens and files? Its models stay."):
        print("samovar: nothing was deleted", file=sys.stderr)
        return 1
    api.delete(where)
    print(f"deleted {username}")
    return 0


def given(*values: object) -> dict[str, object]:
    """By the names of an account's fields; what was not given is left out."""
    return {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}


def path(resource: str, name: str) -> str:
    return f"/v1/{resource}/{quote(name, safe='')}"
