"""`samovar tokens`, `samovar accounts` and `samovar account`, as a user types them, against the live stack."""

import os
import subprocess

import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR, Stack
from deploy.cli.accounts import seconds
from deploy.errors import Unusable
from tests.live import stack

pytestmark = pytest.mark.slow


__all__ = ["stack"]


def samovar(stack: Stack, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    environ = kept | {"SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": token or stack.token}
    none = subprocess.DEVNULL
    return subprocess.run([SAMOVAR, *words], capture_output=True, text=True, timeout=60, env=environ, stdin=none)


def rows(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_a_token_is_made_used_and_revoked(stack: Stack) -> None:
    made = samovar(stack, "tokens", "create", "for a test", "-s", "predict", "--expires-in", "12h")
    token = made.stdout.strip()
    assert (len(token), token[:3], "it is told this once" in made.stderr) == (40, "r8_", True)
    assert dict(rows(samovar(stack, "account", token=token)))["username"] == "samovar"
    [listed] = [row for row in rows(samovar(stack, "tokens", "list")) if row[1] == "for a test"]
    assert listed[2:4] == [token[:7], "predict"]
    refused = samovar(stack, "tokens", "create", "-s", "predict", token=token)
    assert (refused.returncode, "lacks the scope write" in refused.stderr) == (1, True)
    assert samovar(stack, "tokens", "revoke", listed[0]).stdout == f"revoked {listed[0]}\n"
    assert "You did not pass a valid authentication token" in samovar(stack, "account", token=token).stderr


def test_an_account_is_made_changed_and_deleted(stack: Stack) -> None:
    words = ("accounts", "create", "cli-made", "--type", "organization", "--creates-per-minute", "9")
    assert dict(rows(samovar(stack, *words)))["creates_per_minute"] == "9"
    token = samovar(stack, "tokens", "create", "-s", "predict", "--account", "cli-made").stdout.strip()
    assert json.decode(samovar(stack, "account", "--json", token=token).stdout)["username"] == "cli-made"
    words = ("accounts", "update", "cli-made", "--name", "Made", "--unset", "creates-per-minute")
    changed = dict(rows(samovar(stack, *words)))
    assert (changed["name"], "creates_per_minute" in changed) == ("Made", False)
    assert dict(rows(samovar(stack, "accounts", "show", "cli-made"))) == changed
    assert ["cli-made", "organization", "Made", "", ""] in rows(samovar(stack, "accounts", "list"))
    unsure = samovar(stack, "accounts", "delete", "cli-made")
    assert (unsure.returncode, unsure.stderr) == (1, "samovar: there is nobody to ask: say --yes\n")
    assert samovar(stack, "accounts", "delete", "cli-made", "--yes").stdout == "deleted cli-made\n"
    assert "There is no account cli-made" in samovar(stack, "accounts", "show", "cli-made").stderr


@pytest.mark.parametrize(("span", "length"), [("90s", 90), ("45m", 2_700), ("12h", 43_200), ("30d", 2_592_000)])
def test_a_time_span_is_read(span: str, length: int) -> None:
    assert seconds(span) == length


@pytest.mark.parametrize("span", ["", "0s", "1", "-1d", "1w", "1.5h", "1d2h"])
def test_what_is_no_time_span_is_refused(span: str) -> None:
    with pytest.raises(Unusable, match="--expires-in"):
        seconds(span)
