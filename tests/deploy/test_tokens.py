"""`samovar tokens`, as a user types it, against the live stack."""

import pytest

from benchmarks.stack import Stack
from tests.deploy.command_line import rows, samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_a_token_is_created_used_and_revoked(stack: Stack) -> None:
    created = samovar(stack, "tokens", "create", "for a test", "-s", "predict", "--expires-in", "12h")
    token = created.stdout.strip()
    assert (len(token), token[:3], "it is shown only this once" in created.stderr) == (40, "r8_", True)
    assert dict(rows(samovar(stack, "account", SAMOVAR_TOKEN=token)))["username"] == "samovar"
    [row] = [row for row in rows(samovar(stack, "tokens", "list")) if row[1] == "for a test"]
    assert row[2:4] == [token[:7], "predict"]
    refused = samovar(stack, "tokens", "create", "-s", "predict", SAMOVAR_TOKEN=token)
    assert (refused.returncode, "lacks the scope write" in refused.stderr) == (1, True)
    assert samovar(stack, "tokens", "revoke", row[0]).stdout == f"revoked {row[0]}\n"
    assert "You did not pass a valid authentication token" in samovar(stack, "account", SAMOVAR_TOKEN=token).stderr
