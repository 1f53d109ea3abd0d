"""Archives of model folders: the same files give the same bytes, wherever and whenever they are packed."""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol, cast

from msgspec import Struct
from pathspec import PathSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from runners.errors import BadArchive, BadFolder

EXCLUDED_NAMES: Final = frozenset({".git", "__pycache__", ".venv", ".DS_Store"})
_EXCLUDED_PATHS: Final = frozenset({".cog/tmp"})
_ALWAYS_INCLUDED: Final = frozenset({"cog.yaml"})  # no model folder is without it, whatever .dockerignore says
_IGNORE_FILE: Final = ".dockerignore"
_MAX_IGNORE_BYTES: Final = 1_000_000
MAX_FILES: Final = 100_000
MAX_BYTES: Final = 200_000_000_000
NO_REPLACEMENTS: Final[Mapping[str, bytes]] = {}
_CHUNK_BYTES: Final = 1_000_000


class ArchiveInfo(Struct, frozen=True):
    """The digest and the size of an archive."""

    digest: str
    """The sha256 of its bytes, in hex."""
    size: int
    files: int


class ByteSink(Protocol):
    """The receiver of an archive's bytes."""

    def write(self, data: bytes, /) -> object: ...


def list_files(folder: Path) -> list[Path]:
    """Return the files of a folder that belong in its archive, in archive order. Raises `BadFolder`."""
    ignored = _ignore_spec(folder)
    paths = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    files = [paths[name] for name in sorted(paths) if name in _ALWAYS_INCLUDED or not ignored.match_file(name)]
    root = folder.resolve()
    for path in files:
        _check_file(root, folder, path)
    return files


def write(
    folder: Path,
    out: BinaryIO | ByteSink,
    progress: Callable[[int], None] = lambda _: None,
    *,
    replacements: Mapping[str, bytes] = NO_REPLACEMENTS,
) -> ArchiveInfo:
    """Pack a folder into `out`; `progress` gets the bytes written so far. Raises `BadFolder`.

    `replacements` are contents, by file name, to pack in place of a file's own.
    """
    files = list_files(folder)
    writer = _HashingWriter(out, progress)
    with tarfile.open(fileobj=cast("BinaryIO", writer), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            _add_file(tar, folder, path, replacements)
    return ArchiveInfo(writer.sha256.hexdigest(), writer.size, len(files))


def describe(folder: Path, *, replacements: Mapping[str, bytes] = NO_REPLACEMENTS) -> ArchiveInfo:
    """Return what `write` would return, without writing anything. Raises `BadFolder`."""
    return write(folder, _NullSink(), replacements=replacements)


def unpack(tar: Path, folder: Path) -> None:
    """Unpack an archive into a new folder. Raises `BadArchive`; the caller removes what is there by then."""
    folder.mkdir(parents=True)
    try:
        with _BoundedReader(tar.open("rb")) as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
            _extract(archive, folder)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise BadArchive(f"the archive cannot be unpacked: {error}") from error


def check_included(folder: Path, name: str, line: int | None = None) -> None:
    """Check that a file that cog.yaml names is in the archive, too. Raises `BadFolder`."""
    if _ignore_spec(folder).match_file(name):
        reason = f"it names {name}, which {_IGNORE_FILE} leaves out"
        raise BadFolder(f"{folder / 'cog.yaml'}: line {line}: {reason}", "cog.yaml", line, reason)


class _NullSink:
    def write(self, data: bytes, /) -> int:
        return len(data)


class _HashingWriter:
    def __init__(self, out: BinaryIO | ByteSink, progress: Callable[[int], None]) -> None:
        self._out = out
        self._progress = progress
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self.sha256.update(data)
        self.size += len(data)
        self._out.write(data)
        self._progress(self.size)
        return len(data)


class _BoundedReader(io.BufferedReader):
    """A reader that refuses huge headers, which `tarfile` would read into memory whole."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file.detach())

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _CHUNK_BYTES:
            raise tarfile.ReadError("a header is longer than any name or link needs")
        return super().read(size)


def _ignore_spec(folder: Path) -> "PathSpec[GitIgnoreSpecPattern]":
    file = folder / _IGNORE_FILE
    try:
        with file.open("rb") as opened:
            lines = opened.read(_MAX_IGNORE_BYTES).decode().splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", _IGNORE_FILE) from error
    try:
        # The last pattern that matches decides, as with Docker; git's own rules of precedence differ.
        return PathSpec.from_lines(GitIgnoreSpecPattern, [pattern for line in lines if (pattern := _anchored(line))])
    except ValueError as error:
        raise BadFolder(f"{file}: {error}", _IGNORE_FILE) from error


def _anchored(line: str) -> str:
    """Translate a line of .dockerignore to git's syntax: Docker's patterns begin at the folder, git's anywhere."""
    line = line.strip()
    if not line or line.startswith("#"):
        return ""
    negated = line.startswith("!")
    pattern = os.path.normpath(line.removeprefix("!").strip()).strip("/")
    return "" if pattern in ("", ".") else f"{'!' if negated else ''}/{pattern}"


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all but folders; links are not followed."""
    for where, subfolders, names in os.walk(folder, onerror=_raise_unreadable):
        parent = Path(where)
        links = [name for name in subfolders if (parent / name).is_symlink()]
        subfolders[:] = [name for name in subfolders if name not in links and not _is_excluded(folder, parent / name)]
        for name in links + names:
            path = parent / name
            if not _is_excluded(folder, path) and not name.endswith(".pyc"):
                yield path


def _is_excluded(folder: Path, path: Path) -> bool:
    return path.name in EXCLUDED_NAMES or path.relative_to(folder).as_posix() in _EXCLUDED_PATHS


def _raise_unreadable(error: OSError) -> None:
    raise BadFolder(f"{error.filename}: {error.strerror}") from error


def _check_file(root: Path, folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadFolder(f"{os.fsencode(path)!r}: its name is not UTF-8; rename it") from None
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        try:
            inside = path.resolve().is_relative_to(root)
        except (OSError, RuntimeError):
            inside = False
        if not inside:
            raise BadFolder(f"{path}: this link leads out of the folder; put a copy in its place", name)
    elif not stat.S_ISREG(mode):
        raise BadFolder(
            f"{path}: this is a {_file_kind(mode)}, not a file; remove it, or name it in {_IGNORE_FILE}", name
        )


def _file_kind(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    return "pipe" if stat.S_ISFIFO(mode) else "device"


def _add_file(tar: tarfile.TarFile, folder: Path, path: Path, replacements: Mapping[str, bytes]) -> None:
    info = tarfile.TarInfo(path.relative_to(folder).as_posix())
    if (content := replacements.get(info.name)) is not None:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    try:
        if path.is_symlink():
            info.type = tarfile.SYMTYPE
            info.linkname = _relative_target(folder, path)
            info.mode = 0o777
            tar.addfile(info)
            return
        # Non-blocking, as a pipe may be there by now, and opening it would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as opened:
            status = os.fstat(opened.fileno())
            info.size = status.st_size
            info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            tar.addfile(info, opened)
    except OSError as error:
        reason = error.strerror or "it changed while it was packed"
        raise BadFolder(f"{path}: {reason}", info.name) from error


def _relative_target(folder: Path, link: Path) -> str:
    target = os.readlink(link)
    if not os.path.isabs(target):
        return target
    return os.path.relpath(link.resolve(), (folder.resolve() / link.relative_to(folder)).parent)


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract files first, then links: nothing is ever written through a link."""
    links: list[tarfile.TarInfo] = []
    size = 0
    for count, member in enumerate(archive, 1):
        name = _member_name(member)
        size += member.size
        if count > MAX_FILES or size > MAX_BYTES:
            raise BadArchive(f"the archive holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        if member.issym():
            links.append(member)
        elif member.isdir():
            (folder / name).mkdir(parents=True, exist_ok=True)
        elif member.isreg() and not member.issparse():
            _extract_file(archive, member, folder / name)
        else:
            raise BadArchive(f"{member.name}: an archive may hold only files, folders and links inside it")
    for member in links:
        _extract_link(folder, member)
    for member in links:
        if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
            raise BadArchive(f"{member.name}: this link leads out of the archive")


def _member_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or not path.parts:
        raise BadArchive(f"{member.name!r}: this name leads out of the archive")
    return member.name


def _extract_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    if not isinstance(source, io.BufferedReader):
        raise BadArchive(f"{member.name}: this is not a plain file")
    with source, path.open("xb") as out:
        while piece := source.read(_CHUNK_BYTES):
            out.write(piece)
    path.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def _extract_link(folder: Path, member: tarfile.TarInfo) -> None:
    inside = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    if os.path.isabs(member.linkname) or inside == ".." or inside.startswith("../"):
        raise BadArchive(f"{member.name}: this link leads out of the archive")
    path = folder / member.name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise BadArchive(f"{member.name}: this name leads through a link")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(member.linkname)
