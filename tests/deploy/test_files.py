"""`samovar files …` and `samovar deployments run`, as a user types them, against the live stack."""

from pathlib import Path
from secrets import token_hex

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.test_cli import samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_a_file_goes_up_comes_back_and_goes(stack: Stack, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a note")
    made = json.decode(samovar(stack, "files", "upload", str(note), "--json").stdout)
    assert (made["name"], made["content_type"], made["size"]) == ("note.txt", "text/plain", 6)
    listed = samovar(stack, "files", "list").stdout
    assert f"{made['id']}\tnote.txt\ttext/plain\t6\t" in listed
    back = tmp_path / "back.txt"
    fetched = samovar(stack, "files", "download", made["id"], "--output", str(back))
    assert (fetched.stdout, back.read_text()) == (f"{back}\n", "a note")
    assert samovar(stack, "files", "delete", made["id"], "--yes").returncode == 0
    gone = samovar(stack, "files", "show", made["id"])
    assert gone.returncode == 1
    assert gone.stderr.endswith("File not found\n")


def test_the_address_of_an_upload_is_all_that_is_printed(stack: Stack, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a note")
    assert samovar(stack, "files", "upload", str(note)).stdout.startswith(f"{stack.url}/v1/files/")
    missing = samovar(stack, "files", "upload", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "there is no such file" in missing.stderr


def test_what_a_deployment_has_is_run(stack: Stack) -> None:
    bare = f"made-{token_hex(4)}"
    name = f"samovar/{bare}"
    made = samovar(stack, "deployments", "create", bare, "samovar/hello-world")
    assert made.returncode == 0, made.stderr
    ran = samovar(stack, "deployments", "run", name, "-i", "text=you")
    assert (ran.returncode, ran.stdout) == (0, "hello you\n"), ran.stderr
    assert samovar(stack, "deployments", "delete", name, "--yes").returncode == 0
