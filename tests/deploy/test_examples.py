"""`samovar models examples`, as a user types it, against the live stack."""

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.command_line import samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_examples_are_added_listed_and_removed(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/hello-world", "-i", "text=zebra", "--json").stdout)["id"]
    examples = ("models", "examples")
    assert samovar(stack, *examples, "add", "samovar/hello-world", id).returncode == 0
    samovar(stack, "models", "update", "samovar/hello-world", "--default-example", id)
    [line] = samovar(stack, *examples, "list", "samovar/hello-world").stdout.splitlines()
    assert line.split("\t")[::2] == [id, '{"text":"zebra"}']
    assert line.split("\t")[3] == "default"
    assert samovar(stack, *examples, "remove", "samovar/hello-world", id).returncode == 0
    assert samovar(stack, *examples, "list", "samovar/hello-world").stdout == ""
