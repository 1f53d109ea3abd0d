"""`samovar collections`, as a user types it, against the live stack."""

import pytest

from benchmarks.stack import Stack
from tests.deploy.command_line import samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_a_collection_is_created_changed_and_deleted(stack: Stack) -> None:
    created = samovar(stack, "collections", "create", "Zoo Keepers", "--description", "x", "-m", "samovar/count")
    assert created.stdout == "made zoo-keepers\n", created.stderr
    assert samovar(stack, "collections", "list").stdout == "zoo-keepers\tZoo Keepers\tx\n"
    arguments = ("--new-slug", "zoo", "-m", "samovar/hello-world", "-m", "samovar/count")
    assert samovar(stack, "collections", "update", "zoo-keepers", *arguments).stdout == "changed zoo\n"
    lines = samovar(stack, "collections", "show", "zoo").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["samovar/hello-world", "samovar/count"]
    assert "collection\tzoo\tx" in samovar(stack, "search", "zoo").stdout.splitlines()
    assert samovar(stack, "collections", "delete", "zoo").stdout == "deleted zoo\n"
    assert samovar(stack, "collections", "list").stdout == ""
