"""A Cog folder, as it lies on disk: which predictor it holds, and which version of it."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import yaml
from msgspec import Struct, ValidationError, convert

OWNER: Final = "samovar"
"""Of the bundled models."""

_REF: Final = "predict.py:Predictor"
_SKIPPED: Final = frozenset({"__pycache__", ".git", ".venv", ".DS_Store"})
_LOCAL: Final = re.compile(r"[a-z0-9]+([._-]{1,2}[a-z0-9]+)*")


class BadFolder(Exception):
    """A model's folder cannot be read; the message names the file and the reason."""


class Folder(Struct, frozen=True, kw_only=True):
    path: Path
    owner: str
    name: str
    ref: str
    """`file.py:Name` of the predictor."""
    version: str
    """64 hex digits: the sha256 of owner/name and content."""
    environment: dict[str, str]
    description: str | None
    readme: str | None


def read(path: Path, owner: str = OWNER) -> Folder:
    """Raises `BadFolder`."""
    path = path.resolve()
    if not path.is_dir():
        raise BadFolder(f"{path}: there is no such folder")
    if not _LOCAL.fullmatch(path.name):
        raise BadFolder(f"{path}: the folder's name is the model's, and may hold a-z, 0-9 and . _ - between them")
    config = _config(path / "cog.yaml")
    ref = _ref(path, config)
    readme = _readme(path)
    return Folder(
        path=path,
        owner=owner,
        name=path.name,
        ref=ref,
        version=_version(path, f"{owner}/{path.name}"),
        environment=_environment(path / "cog.yaml", config),
        description=_first_paragraph(readme) if readme else None,
        readme=readme,
    )


def _config(file: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise BadFolder(f"{file}: there is no such file; a model's folder needs one") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadFolder(f"{file}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise BadFolder(f'{file}: it must hold a mapping, such as predict: "{_REF}"')
    return cast("dict[str, Any]", found)


def _ref(path: Path, config: Mapping[str, Any]) -> str:
    ref = config.get("run") or config.get("predict")
    if not isinstance(ref, str):
        raise BadFolder(f'{path / "cog.yaml"}: predict is missing; it names the predictor, as in "{_REF}"')
    file = ref.partition(":")[0]
    if not (path / file).is_file():
        raise BadFolder(f"{path / file}: there is no such file, and cog.yaml names it as the predictor")
    return ref


def _environment(file: Path, config: Mapping[str, Any]) -> dict[str, str]:
    try:
        lines = convert(config.get("environment") or [], list[str])
    except ValidationError as error:
        raise BadFolder(f'{file}: environment must be a list of "NAME=value": {error}') from None
    pairs = [line.partition("=") for line in lines]
    if wrong := next((name for name, equals, _ in pairs if not name or not equals), None):
        raise BadFolder(f'{file}: environment: {wrong!r} is not of the form "NAME=value"')
    return {name: value for name, _, value in pairs}


def _readme(path: Path) -> str | None:
    try:
        return (path / "README.md").read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{path / 'README.md'}: {error}") from error


def _first_paragraph(readme: str) -> str | None:
    paragraphs = re.split(r"\n\s*\n", readme)
    return next((" ".join(p.split()) for p in paragraphs if p.strip() and not p.lstrip().startswith("#")), None)


def _version(path: Path, model: str) -> str:
    digest = hashlib.sha256(model.encode())
    for file in sorted(_files(path), key=lambda file: file.relative_to(path).as_posix()):
        name = file.relative_to(path).as_posix().encode()
        content = file.read_bytes()
        # The lengths keep apart what would else run together.
        digest.update(b"%d %d " % (len(name), len(content)))
        digest.update(name)
        digest.update(content)
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if name not in _SKIPPED]
        yield from (Path(folder, name) for name in names if name not in _SKIPPED and not name.endswith(".pyc"))
