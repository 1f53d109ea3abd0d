"""`samovar models delete` and `samovar gc`: what is asked before something goes for good."""

import sys

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.client.references import Reference
from deploy.cli.terminal.output import amount, pretty, table
from deploy.errors import Unusable


def delete(api: Api, ref: str, *, sure: bool) -> int:
    """A model or one of its versions. Returns the exit status."""
    named = references.read(api, ref)
    api.get(named.path)  # what is not there is told of before anybody is asked
    if not sure and not agreed(_question(api, named)):
        print("samovar: nothing was deleted", file=sys.stderr)
        return 1
    api.delete(named.path)
    print(f"deleted {named}")
    return 0


def _question(api: Api, named: Reference) -> str:
    if named.version:
        return f"Delete version {named.version} of {named.name}? Predictions that wait for it end."
    count = sum(1 for _ in api.pages(f"{named.path}/versions"))
    versions = "1 version" if count == 1 else f"{count} versions"
    return f"Delete {named.name} with {versions}? Predictions that wait for it end."


def agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise Unusable("there is nobody to ask: say --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def collect(api: Api, *, delete: bool, as_json: bool) -> None:
    """What could be freed; with `delete`, what has been."""
    found = api.waste(delete=delete)
    if as_json:
        print(pretty(found))
        return
    table(("file", "size", "why"), [(each["key"], _size(each["bytes"]), each["reason"]) for each in found["items"]])
    left = found["count"] - len(found["items"])
    more = f", {left} of them not shown" if left > 0 else ""
    files = "1 file" if found["count"] == 1 else f"{found['count']} files"
    hint = "" if delete or not found["count"] else "; `samovar gc --delete` frees it"
    done = "freed" if delete else "could be freed"
    print(f"samovar: {files}{more}, {amount(found['bytes'])} {done}{hint}", file=sys.stderr)


def _size(bytes: int) -> str:
    """Exact where a program reads it."""
    return amount(bytes) if sys.stdout.isatty() else str(bytes)
