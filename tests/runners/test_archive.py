import hashlib
import io
import os
import re
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.errors import BadArchive, BadFolder
from runners.versions.archive import describe, list_files, unpack, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    for name in ("cog.yaml", "predict.py", "data/b.bin", "data/a/c.txt"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_files(folder)]


def packed(folder: Path) -> bytes:
    out = io.BytesIO()
    write(folder, out)
    return out.getvalue()


def test_an_archive_depends_on_the_content_alone(folder: Path):
    first = packed(folder)
    os.utime(folder / "predict.py", (1, 1))
    (folder / "data").rename(folder / "other")
    (folder / "other").rename(folder / "data")
    (folder / "predict.py").chmod(0o600)
    assert packed(folder) == first
    (folder / "predict.py").chmod(0o700)
    assert packed(folder) != first


def test_an_archives_info_describes_what_is_written(folder: Path):
    out = io.BytesIO()
    progress: list[int] = []
    info = write(folder, out, progress.append)
    assert info == describe(folder)
    assert info.digest == hashlib.sha256(out.getvalue()).hexdigest()
    assert (info.size, info.files) == (len(out.getvalue()), 4)
    assert progress[-1] == info.size
    assert progress == sorted(progress)


def test_a_packed_folder_is_unpacked_as_it_was(folder: Path, tmp_path: Path):
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o755)
    (folder / "near").symlink_to("data/a")
    (folder / "far").symlink_to(folder / "data" / "b.bin")
    (folder / ("long" * 40)).write_text("x")
    tar = tmp_path / "t.tar"
    tar.write_bytes(packed(folder))
    unpack(tar, tmp_path / "out")
    assert names(tmp_path / "out") == names(folder)
    assert (tmp_path / "out" / "near" / "c.txt").read_text() == "data/a/c.txt"
    assert os.readlink(tmp_path / "out" / "far") == "data/b.bin"
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert describe(tmp_path / "out") == describe(folder)


def test_files_left_by_running_are_never_packed(folder: Path):
    before = names(folder)
    for name in (".git/HEAD", "__pycache__/a.pyc", "data/x.pyc", ".venv/bin/python", ".cog/tmp/x", "data/.DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    assert names(folder) == before


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        pytest.param("data", {"cog.yaml", "predict.py"}, id="a folder"),
        pytest.param("b.bin", {"cog.yaml", "predict.py", "data/b.bin", "data/a/c.txt"}, id="begins at the root"),
        pytest.param("**/b.bin", {"cog.yaml", "predict.py", "data/a/c.txt"}, id="anywhere"),
        pytest.param("data\n!data/a", {"cog.yaml", "predict.py", "data/a/c.txt"}, id="but not this"),
        pytest.param("!data/a\ndata", {"cog.yaml", "predict.py"}, id="the last one decides"),
        pytest.param("/data/*\n# data/a\n\n", {"cog.yaml", "predict.py"}, id="all that is inside"),
        pytest.param("*\n!predict.py", {"cog.yaml", "predict.py"}, id="everything, but cog.yaml stays"),
    ],
)
def test_dockerignore_is_respected(folder: Path, lines: str, left: set[str]):
    (folder / ".dockerignore").write_text(lines)
    assert set(names(folder)) - {".dockerignore"} == left


def test_a_link_that_leads_out_is_refused_by_name(folder: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    (folder / "data" / "out").symlink_to("../../secret")
    with pytest.raises(BadFolder, match=r"data/out: this link leads out"):
        list_files(folder)
    (folder / ".dockerignore").write_text("data/out")
    assert "data/out" not in names(folder)


def test_pipes_and_sockets_are_refused_by_name_and_never_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)  # a socket's path may not be long
    os.mkfifo("pipe")
    with pytest.raises(BadFolder, match="pipe: this is a pipe, not a file"):
        describe(folder)
    os.remove("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        with pytest.raises(BadFolder, match="sock: this is a socket, not a file"):
            describe(folder)


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> Callable[..., None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        tar.addfile(info, io.BytesIO(data))

    return add


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        pytest.param([_entry("/etc/x")], "leads out", id="absolute"),
        pytest.param([_entry("a/../../x")], "leads out", id="upwards"),
        pytest.param([_entry("a", tarfile.SYMTYPE, "/etc")], "leads out", id="an absolute link"),
        pytest.param([_entry("a", tarfile.SYMTYPE, "../x")], "leads out", id="a link upwards"),
        pytest.param(
            [_entry("s/t/up", tarfile.SYMTYPE, "../.."), _entry("c", tarfile.SYMTYPE, "s/t/up/../x")],
            "leads out",
            id="links that lead out together",
        ),
        pytest.param([_entry("a", tarfile.SYMTYPE, "b"), _entry("a/x", data=b"1")], "exists", id="through a link"),
        pytest.param([_entry("a", tarfile.LNKTYPE, "b")], "may hold only files", id="a hard link"),
        pytest.param([_entry("a", tarfile.CHRTYPE)], "may hold only files", id="a device"),
        pytest.param([_entry("a", tarfile.FIFOTYPE)], "may hold only files", id="a pipe"),
        pytest.param([_entry("a", data=b"1"), _entry("a", data=b"2")], "exists", id="twice"),
        pytest.param([_entry("n" * 3_000_000)], "longer than any name", id="a huge header"),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, entries: list[Callable[..., None]], reason: str):
    tar = tmp_path / "t.tar"
    with tarfile.open(tar, "w") as opened:
        for add in entries:
            add(opened)
    with pytest.raises(BadArchive, match=re.escape(reason)):
        unpack(tar, tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "t.tar"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path):
    tar = tmp_path / "t.tar"
    for content in (b"no", b"\x1f\x8b" + b"0" * 600, b"x" * 2048):
        tar.write_bytes(content)
        with pytest.raises(BadArchive, match="cannot be unpacked"):
            unpack(tar, tmp_path / f"out{len(content)}")


def test_a_file_can_be_packed_with_replaced_content(folder: Path, tmp_path: Path):
    out = io.BytesIO()
    info = write(folder, out, replacements={"cog.yaml": b"other"})
    assert info == describe(folder, replacements={"cog.yaml": b"other"})
    (tar := tmp_path / "tar").write_bytes(out.getvalue())
    unpack(tar, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "cog.yaml").read_text() == "other"
    assert (tmp_path / "unpacked" / "predict.py").read_text() == "predict.py"
    assert (folder / "cog.yaml").read_text() == "cog.yaml"
