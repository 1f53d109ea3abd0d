"""A folder as one archive: the same files give the same bytes, wherever and whenever they are packed."""

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

from runners.errors import BadFolder, BadPack

NEVER: Final = frozenset({".git", "__pycache__", ".venv", ".DS_Store"})
_NEVER_AT: Final = frozenset({".cog/tmp"})
_KEPT: Final = frozenset({"cog.yaml"})  # a folder without it is none, whatever .dockerignore says
_IGNORE: Final = ".dockerignore"
_IGNORE_SIZE: Final = 1_000_000
MOST_FILES: Final = 100_000
MOST_BYTES: Final = 200_000_000_000
NOTHING: Final[Mapping[str, bytes]] = {}
_PIECE: Final = 1_000_000


class Pack(Struct, frozen=True):
    """What an archive is known by."""

    digest: str
    """The sha256 of its bytes, in hex."""
    size: int
    files: int


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def listed(folder: Path) -> list[Path]:
    """What is packed of a folder, in the order in which it is packed. Raises `BadFolder`."""
    ignored = _ignored(folder)
    found = {path.relative_to(folder).as_posix(): path for path in _walked(folder)}
    kept = [found[name] for name in sorted(found) if name in _KEPT or not ignored.match_file(name)]
    root = folder.resolve()
    for path in kept:
        _check(root, folder, path)
    return kept


def write(
    folder: Path,
    out: BinaryIO | Sink,
    progress: Callable[[int], None] = lambda _: None,
    *,
    instead: Mapping[str, bytes] = NOTHING,
) -> Pack:
    """Pack a folder into `out`; `progress` hears how many bytes have been written so far. Raises `BadFolder`.

    `instead`, by name: what is packed in the place of a file's content.
    """
    files = listed(folder)
    hashing = _Hashing(out, progress)
    with tarfile.open(fileobj=cast("BinaryIO", hashing), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            _add(tar, folder, path, instead)
    return Pack(hashing.sha256.hexdigest(), hashing.size, len(files))


def digest(folder: Path, *, instead: Mapping[str, bytes] = NOTHING) -> Pack:
    """What `write` would give, with nothing written. Raises `BadFolder`."""
    return write(folder, _Nowhere(), instead=instead)


def unpack(tar: Path, folder: Path) -> None:
    """Into a folder that is made for it. Raises `BadPack`; what is there by then is for the caller to remove."""
    folder.mkdir(parents=True)
    try:
        with _Careful(tar.open("rb")) as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
            _extract(archive, folder)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise BadPack(f"the archive cannot be unpacked: {error}") from error


def check_packed(folder: Path, name: str, line: int | None = None) -> None:
    """That a file which cog.yaml names is in the archive, too. Raises `BadFolder`."""
    if _ignored(folder).match_file(name):
        reason = f"it names {name}, which {_IGNORE} leaves out"
        raise BadFolder(f"{folder / 'cog.yaml'}: line {line}: {reason}", "cog.yaml", line, reason)


class _Nowhere:
    def write(self, data: bytes, /) -> int:
        return len(data)


class _Hashing:
    def __init__(self, out: BinaryIO | Sink, progress: Callable[[int], None]) -> None:
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


class _Careful(io.BufferedReader):
    """Headers that claim to be huge would be read into memory whole."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file.detach())

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _PIECE:
            raise tarfile.ReadError("a header is longer than any name or link needs")
        return super().read(size)


def _ignored(folder: Path) -> "PathSpec[GitIgnoreSpecPattern]":
    file = folder / _IGNORE
    try:
        with file.open("rb") as opened:
            lines = opened.read(_IGNORE_SIZE).decode().splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", _IGNORE) from error
    try:
        # The last pattern that fits decides, as with Docker; git's own rules of precedence are others.
        return PathSpec.from_lines(GitIgnoreSpecPattern, [rooted for line in lines if (rooted := _rooted(line))])
    except ValueError as error:
        raise BadFolder(f"{file}: {error}", _IGNORE) from error


def _rooted(line: str) -> str:
    """A line of .dockerignore as git would put it: Docker's patterns begin at the folder, git's anywhere."""
    line = line.strip()
    if not line or line.startswith("#"):
        return ""
    negated = line.startswith("!")
    pattern = os.path.normpath(line.removeprefix("!").strip()).strip("/")
    return "" if pattern in ("", ".") else f"{'!' if negated else ''}/{pattern}"


def _walked(folder: Path) -> Iterator[Path]:
    """All but folders; links to folders are followed no more than others."""
    for where, inner, names in os.walk(folder, onerror=_unreadable):
        here = Path(where)
        links = [name for name in inner if (here / name).is_symlink()]
        inner[:] = [name for name in inner if name not in links and not _never(folder, here / name)]
        for name in links + names:
            path = here / name
            if not _never(folder, path) and not name.endswith(".pyc"):
                yield path


def _never(folder: Path, path: Path) -> bool:
    return path.name in NEVER or path.relative_to(folder).as_posix() in _NEVER_AT


def _unreadable(error: OSError) -> None:
    raise BadFolder(f"{error.filename}: {error.strerror}") from error


def _check(root: Path, folder: Path, path: Path) -> None:
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
        raise BadFolder(f"{path}: this is no file but a {_kind(mode)}; remove it, or name it in {_IGNORE}", name)


def _kind(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    return "pipe" if stat.S_ISFIFO(mode) else "device"


def _add(tar: tarfile.TarFile, folder: Path, path: Path, instead: Mapping[str, bytes]) -> None:
    info = tarfile.TarInfo(path.relative_to(folder).as_posix())
    if (content := instead.get(info.name)) is not None:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    try:
        if path.is_symlink():
            info.type = tarfile.SYMTYPE
            info.linkname = _relative(folder, path)
            info.mode = 0o777
            tar.addfile(info)
            return
        # Not to wait for a writer, should a pipe be there by now.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as opened:
            status = os.fstat(opened.fileno())
            info.size = status.st_size
            info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            tar.addfile(info, opened)
    except OSError as error:
        reason = error.strerror or "it changed while it was packed"
        raise BadFolder(f"{path}: {reason}", info.name) from error


def _relative(folder: Path, link: Path) -> str:
    target = os.readlink(link)
    if not os.path.isabs(target):
        return target
    return os.path.relpath(link.resolve(), (folder.resolve() / link.relative_to(folder)).parent)


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Files first, then links: nothing is ever written through a link."""
    links: list[tarfile.TarInfo] = []
    size = 0
    for count, member in enumerate(archive, 1):
        name = _name(member)
        size += member.size
        if count > MOST_FILES or size > MOST_BYTES:
            raise BadPack(f"the archive holds more than {MOST_FILES} files or {MOST_BYTES} bytes")
        if member.issym():
            links.append(member)
        elif member.isdir():
            (folder / name).mkdir(parents=True, exist_ok=True)
        elif member.isreg() and not member.issparse():
            _file(archive, member, folder / name)
        else:
            raise BadPack(f"{member.name}: only files, folders and links inside may be in an archive")
    for member in links:
        _link(folder, member)
    for member in links:
        if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
            raise BadPack(f"{member.name}: this link leads out of the archive")


def _name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or not path.parts:
        raise BadPack(f"{member.name!r}: this name leads out of the archive")
    return member.name


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None
    if not isinstance(source, io.BufferedReader):
        raise BadPack(f"{member.name}: this is no plain file")
    with source, path.open("xb") as out:
        while piece := source.read(_PIECE):
            out.write(piece)
    path.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def _link(folder: Path, member: tarfile.TarInfo) -> None:
    inside = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    if os.path.isabs(member.linkname) or inside == ".." or inside.startswith("../"):
        raise BadPack(f"{member.name}: this link leads out of the archive")
    path = folder / member.name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise BadPack(f"{member.name}: this name leads through a link")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(member.linkname)
