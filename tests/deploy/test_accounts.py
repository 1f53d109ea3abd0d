"""`samovar accounts` and `samovar account`, as a user types them, against the live stack."""

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.command_line import rows, samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_an_account_is_created_changed_and_deleted(stack: Stack) -> None:
    arguments = ("accounts", "create", "cli-made", "--type", "organization", "--creates-per-minute", "9")
    assert dict(rows(samovar(stack, *arguments)))["creates_per_minute"] == "9"
    token = samovar(stack, "tokens", "create", "-s", "predict", "--account", "cli-made").stdout.strip()
    assert json.decode(samovar(stack, "account", "--json", SAMOVAR_TOKEN=token).stdout)["username"] == "cli-made"
    arguments = ("accounts", "update", "cli-made", "--name", "Made", "--unset", "creates-per-minute")
    changed = dict(rows(samovar(stack, *arguments)))
    assert (changed["name"], "creates_per_minute" in changed) == ("Made", False)
    assert dict(rows(samovar(stack, "accounts", "show", "cli-made"))) == changed
    assert ["cli-made", "organization", "Made", "", ""] in rows(samovar(stack, "accounts", "list"))
    unconfirmed = samovar(stack, "accounts", "delete", "cli-made")
    assert (unconfirmed.returncode, unconfirmed.stderr) == (
        1,
        "samovar: there is no terminal to ask at; add --yes to confirm\n",
    )
    assert samovar(stack, "accounts", "delete", "cli-made", "--yes").stdout == "deleted cli-made\n"
    assert "There is no account cli-made" in samovar(stack, "accounts", "show", "cli-made").stderr
