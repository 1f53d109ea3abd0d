"""`samovar files`, as a user types it, against the live stack."""

from pathlib import Path

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.command_line import samovar
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


def test_a_file_is_uploaded_downloaded_and_deleted(stack: Stack, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a note")
    uploaded = json.decode(samovar(stack, "files", "upload", str(note), "--json").stdout)
    assert (uploaded["name"], uploaded["content_type"], uploaded["size"]) == ("note.txt", "text/plain", 6)
    listing = samovar(stack, "files", "list").stdout
    assert f"{uploaded['id']}\tnote.txt\ttext/plain\t6\t" in listing
    back = tmp_path / "back.txt"
    downloaded = samovar(stack, "files", "download", uploaded["id"], "--output", str(back))
    assert (downloaded.stdout, back.read_text()) == (f"{back}\n", "a note")
    assert samovar(stack, "files", "delete", uploaded["id"], "--yes").returncode == 0
    missing = samovar(stack, "files", "show", uploaded["id"])
    assert missing.returncode == 1
    assert missing.stderr.endswith("File not found\n")


def test_an_upload_prints_only_the_address(stack: Stack, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a note")
    assert samovar(stack, "files", "upload", str(note)).stdout.startswith(f"{stack.url}/v1/files/")
    missing = samovar(stack, "files", "upload", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "there is no such file" in missing.stderr
