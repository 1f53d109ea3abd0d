"""The command `samovar gc`."""

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from deploy.cli.client.api import connect
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url
from deploy.cli.terminal.output import Cells, Item, format_bytes, format_json, print_message, print_table


def gc(
    *,
    delete: Annotated[bool, Parameter(negative=())] = False,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """List the files in the file store that nothing uses any more, and how much space they take.

    Parameters
    ----------
    delete
        Remove these files.
    """
    with connect(url, token) as api:
        garbage = api.collect_garbage(delete=delete)
    if as_json:
        print(format_json(garbage))
        return
    print_table(("file", "size", "why"), [_garbage_cells(item) for item in garbage["items"]])
    print_message(_summary(garbage, is_deleted=delete))


def _summary(garbage: dict[str, Any], *, is_deleted: bool) -> str:
    hidden = garbage["count"] - len(garbage["items"])
    files = "1 file" if garbage["count"] == 1 else f"{garbage['count']} files"
    more = f", {hidden} of them not shown" if hidden > 0 else ""
    action = "freed" if is_deleted else "could be freed"
    hint = "" if is_deleted or not garbage["count"] else "; `samovar gc --delete` frees it"
    return f"{files}{more}, {format_bytes(garbage['bytes'])} {action}{hint}"


def _garbage_cells(item: Item) -> Cells:
    # The exact number where a program reads it.
    size = format_bytes(item["bytes"]) if sys.stdout.isatty() else str(item["bytes"])
    return item["key"], size, item["reason"]
