"""What a version wants installed, as one text whatever files it was spread over."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from runners.errors import BadFolder

_LARGEST: Final = 1_000_000  # bytes
_DEEPEST: Final = 10
_INCLUDE: Final = re.compile(r"(?:-r|--requirement)(?:\s+|\s*=\s*|(?=\S))(?P<file>\S.*)")
_CONSTRAIN: Final = re.compile(r"(?:-c|--constraint)(?:\s+|\s*=\s*|(?=\S))(?P<file>\S.*)")
_OURS: Final = re.compile(r"(?i)(cog|coglet)\s*($|[\[<>=!~;@#\s])")


class Line(Struct, frozen=True):
    """Of a requirements file, or a command; and where it stands."""

    text: str
    file: str | None = None
    line: int | None = None

    @property
    def option(self) -> bool:
        return self.text.startswith("-")


class Requirements(Struct, frozen=True, kw_only=True):
    python_version: str | None = None
    python_line: int | None = None
    """Of cog.yaml, where it is asked for."""
    packages: tuple[Line, ...] = ()
    """Of a requirements file, with all that it includes; options such as `--index-url` among them."""
    constraints: tuple[Line, ...] = ()
    """Of the constraint files that it names."""
    first: tuple[Line, ...] = ()
    """Commands to run before the packages are installed."""
    run: tuple[Line, ...] = ()
    """Commands to run after that."""

    @property
    def installs(self) -> bool:
        return bool(self.first or self.run) or any(not line.option for line in self.packages)


NOTHING: Final = Requirements()


def read(folder: Path, name: str) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """The lines of a requirements file and of its constraints. Raises `BadFolder`."""
    constraints: list[Line] = []
    return tuple(_lines(folder, name, constraints, depth=0)), tuple(constraints)


def ours(line: str) -> bool:
    """The runner brings its own `cog`."""
    return _OURS.match(line) is not None


def _lines(folder: Path, name: str, constraints: list[Line], *, depth: int) -> list[Line]:
    if depth > _DEEPEST:
        raise BadFolder(f"{folder / name}: requirements include each other more than {_DEEPEST} deep", name)
    found: list[Line] = []
    for number, line in _joined(_text(folder, name)):
        if include := _INCLUDE.fullmatch(line):
            found += _lines(folder, _beside(name, include["file"]), constraints, depth=depth + 1)
        elif constrain := _CONSTRAIN.fullmatch(line):
            constraints += _lines(folder, _beside(name, constrain["file"]), constraints, depth=depth + 1)
        elif line and not ours(line):
            found.append(Line(line, name, number))
    return found


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, with those that a backslash continues as one."""
    start, whole = 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start if whole else number
        if line.endswith("\\"):
            whole += f"{line[:-1]} "
            continue
        yield start, _bare(whole + line)
        whole = ""
    yield start, _bare(whole)


def _text(folder: Path, name: str) -> str:
    file = folder / name
    if file.exists() and not (file.is_file() and file.resolve().is_relative_to(folder.resolve())):
        raise BadFolder(f"{file}: this is no file inside of the folder", name)
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise BadFolder(f"{file}: it is larger than {_LARGEST} bytes", name)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadFolder(f"{file}: there is no such file", name, reason="there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", name) from error


def _bare(line: str) -> str:
    """Without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def _beside(name: str, other: str) -> str:
    return (Path(name).parent / other.strip()).as_posix()
