"""The packages and commands that a version requires, collected from all the files that name them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from runners.errors import BadFolder

_MAX_BYTES: Final = 1_000_000  # bytes
_MAX_DEPTH: Final = 10
_INCLUDE: Final = re.compile(r"(?:-r|--requirement)(?:\s+|\s*=\s*|(?=\S))(?P<file>\S.*)")
_CONSTRAIN: Final = re.compile(r"(?:-c|--constraint)(?:\s+|\s*=\s*|(?=\S))(?P<file>\S.*)")
_COG_SDK: Final = re.compile(r"(?i)(cog|coglet)\s*($|[\[<>=!~;@#\s])")


class SourceLine(Struct, frozen=True):
    """A line of a requirements file or a command, and where it is written."""

    text: str
    file: str | None = None
    line: int | None = None

    @property
    def is_option(self) -> bool:
        """Whether it is an option for the installer, and not a package."""
        return self.text.startswith("-")


class Requirements(Struct, frozen=True, kw_only=True):
    """A version's Python, packages and build commands."""

    python_version: str | None = None
    python_line: int | None = None
    """The line of cog.yaml that names it."""
    packages: tuple[SourceLine, ...] = ()
    """The lines of a requirements file and of all that it includes; options such as `--index-url` among them."""
    constraints: tuple[SourceLine, ...] = ()
    """The lines of the constraint files that it names."""
    pre_install: tuple[SourceLine, ...] = ()
    """Commands to run before the packages are installed."""
    run: tuple[SourceLine, ...] = ()
    """Commands to run after that."""

    @property
    def installs_anything(self) -> bool:
        """Whether there are packages to install or commands to run."""
        return bool(self.pre_install or self.run) or any(not line.is_option for line in self.packages)


NO_REQUIREMENTS: Final = Requirements()


def read_lines(folder: Path, name: str) -> tuple[tuple[SourceLine, ...], tuple[SourceLine, ...]]:
    """Return the lines of a requirements file, and those of its constraint files. Raises `BadFolder`."""
    constraints: list[SourceLine] = []
    return tuple(_lines(folder, name, constraints, depth=0)), tuple(constraints)


def is_cog_sdk(line: str) -> bool:
    """Return whether a line requires `cog` itself, which the runner brings."""
    return _COG_SDK.match(line) is not None


def _lines(folder: Path, name: str, constraints: list[SourceLine], *, depth: int) -> list[SourceLine]:
    if depth > _MAX_DEPTH:
        raise BadFolder(f"{folder / name}: requirements include each other more than {_MAX_DEPTH} deep", name)
    lines: list[SourceLine] = []
    for number, line in _logical_lines(_read_text(folder, name)):
        if include := _INCLUDE.fullmatch(line):
            lines += _lines(folder, _sibling(name, include["file"]), constraints, depth=depth + 1)
        elif constrain := _CONSTRAIN.fullmatch(line):
            constraints += _lines(folder, _sibling(name, constrain["file"]), constraints, depth=depth + 1)
        elif line and not is_cog_sdk(line):
            lines.append(SourceLine(line, name, number))
    return lines


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines and their numbers; lines that a backslash continues are joined."""
    start, whole = 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start if whole else number
        if line.endswith("\\"):
            whole += f"{line[:-1]} "
            continue
        yield start, _strip_comment(whole + line)
        whole = ""
    yield start, _strip_comment(whole)


def _read_text(folder: Path, name: str) -> str:
    file = folder / name
    if file.exists() and not (file.is_file() and file.resolve().is_relative_to(folder.resolve())):
        raise BadFolder(f"{file}: this is not a file inside the folder", name)
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise BadFolder(f"{file}: it is larger than {_MAX_BYTES} bytes", name)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadFolder(f"{file}: there is no such file", name, reason="there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", name) from error


def _strip_comment(line: str) -> str:
    """Return a line without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def _sibling(name: str, other: str) -> str:
    return (Path(name).parent / other.strip()).as_posix()
