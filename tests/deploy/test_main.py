"""The command `samovar` as a whole: its list of commands, its start, and its errors."""

import importlib
import inspect
import subprocess
import sys

import pytest
from cyclopts import App

from benchmarks.stack import Stack
from deploy.cli.main import COMMANDS
from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway
from tests.live import stack

__all__ = ["stack"]


def test_the_stored_token_is_used_on_this_machine(stack: Stack) -> None:
    data_dir = str(stack.data_dir)
    assert samovar(stack, "token", "--data-dir", data_dir).stdout == f"{stack.token}\n"
    result = samovar(stack, "models", "list", SAMOVAR_TOKEN="", SAMOVAR_DATA_DIR=data_dir)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"SAMOVAR_TOKEN": "wrong"}, "You did not pass a valid authentication token", id="a wrong token"),
        pytest.param({"SAMOVAR_URL": "http://127.0.0.1:1"}, "is `samovar up` running?", id="nobody there"),
        pytest.param({"SAMOVAR_URL": "localhost"}, "a URL begins with http://", id="no URL"),
        pytest.param({"SAMOVAR_TOKN": "x"}, "did you mean SAMOVAR_TOKEN?", id="a typo"),
    ],
)
def test_a_connection_error_is_one_line(stack: Stack, variables: dict[str, str], expected: str) -> None:
    result = samovar(stack, "models", "list", **variables)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, deploy.cli.main; print(*sorted({'torch', 'litestar', 'httpx', 'nats'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout == "\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("push", "/no/such", "me/mine"), "/no/such: there is no such folder", id="folder"),
        pytest.param(("push", ".", "mine"), "mine: write a model as owner/name", id="model"),
        pytest.param(("push", ".", "me/mine", "-i", "a=b"), "-i needs --watch", id="inputs alone"),
        pytest.param(("models", "show", "me/mine:xyz"), "a version is 64 hex digits, or the first", id="no hex"),
        pytest.param(("models", "show", "me/mine:abc"), "the first 4 or more", id="too few digits"),
        pytest.param(("models", "delete", "me/mine"), "add --yes", id="nobody to ask"),
    ],
)
def test_a_usage_error_is_one_line(gateway: FakeGateway, arguments: tuple[str, ...], expected: str) -> None:
    result = samovar(gateway, *arguments)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


@pytest.mark.parametrize(("name", "target", "summary"), [(name, *command) for name, command in COMMANDS.items()])
def test_every_command_can_be_loaded_and_describes_itself_as_in_the_list(name: str, target: str, summary: str) -> None:
    module, _, attribute = target.partition(":")
    command = getattr(importlib.import_module(f"deploy.cli.commands.{module}"), attribute)
    if isinstance(command, App):
        assert command.name == (name,)
        return
    description = (inspect.getdoc(command) or "").split("\n\nParameters\n")[0]
    assert description.split() == summary.split()
