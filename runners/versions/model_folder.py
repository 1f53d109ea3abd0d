"""A Cog folder, as it lies on disk: which predictor it holds, what it asks for, and which version of it this is."""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from runners.errors import BadFolder
from runners.versions import archive, cog_yaml, requirements
from runners.versions.cog_yaml import Build, CogYaml, Read, Step
from runners.versions.requirements import NOTHING, Line, Requirements
from schemas.models import version_id

OWNER: Final = "samovar"
"""Of the bundled models."""

_LOCAL: Final = re.compile(r"[a-z0-9]+([._-]{1,2}[a-z0-9]+)*")
_LONGEST_README: Final = 200_000  # characters; it travels in one message with the schema


class Folder(Struct, frozen=True, kw_only=True):
    path: Path
    owner: str
    name: str
    ref: str
    """`file.py:Name` of the predictor."""
    train: str | None = None
    """`file.py:name` of what trains it."""
    version: str
    """64 hex digits: the sha256 of owner/name and content."""
    environment: dict[str, str]
    requirements: Requirements = NOTHING
    concurrency: int | None = None
    notes: list[str] = []
    """What it asks for that is not done here."""
    description: str | None
    readme: str | None


def read(path: Path, owner: str = OWNER, name: str | None = None, *, version: str | None = None) -> Folder:
    """The folder of the model `owner/name`; without a name, its own is the model's. Raises `BadFolder`.

    Of a folder whose version is known, not every byte is read.
    """
    path = path.resolve()
    if not path.is_dir():
        raise BadFolder(f"{path}: there is no such folder")
    if name is None and not _LOCAL.fullmatch(path.name):
        raise BadFolder(f"{path}: the folder's name is the model's, and may hold a-z, 0-9 and . _ - between them")
    name = name or path.name
    found = cog_yaml.read(path / cog_yaml.FILE)
    config = found.config
    readme = _readme(path)
    return Folder(
        path=path,
        owner=owner,
        name=name,
        ref=_ref(path, found),
        train=_train(path, found),
        version=version or version_id(owner, name, archive.digest(path).digest),
        environment={key: value for key, _, value in (line.partition("=") for line in config.environment or [])},
        requirements=_requirements(path, found),
        concurrency=_concurrency(config),
        notes=_notes(found),
        description=_first_paragraph(readme) if readme else None,
        readme=readme,
    )


def _ref(path: Path, found: Read) -> str:
    key = "run" if found.config.run else "predict"
    ref = found.config.run or found.config.predict
    if not ref:
        reason = f'predict is missing; it names the predictor, as in "{cog_yaml.DEFAULT_REF}"'
        raise BadFolder(f"{found.file}: {reason}", cog_yaml.FILE, 1, reason)
    _there(path, found, key, ref)
    return ref


def _train(path: Path, found: Read) -> str | None:
    if found.config.train:
        _there(path, found, "train", found.config.train)
    return found.config.train or None


def _there(path: Path, found: Read, key: str, ref: str) -> None:
    file = ref.partition(":")[0]
    if not file.endswith(".py") or not (path / file).resolve().is_relative_to(path):
        raise found.bad(key, f'must name a Python file in the folder, as in "{cog_yaml.DEFAULT_REF}", and is {ref!r}')
    if not (path / file).is_file():
        raise found.bad(key, f"names {file}, and there is no such file")
    archive.check_packed(path, file, found.lines.get(key))


def _requirements(path: Path, found: Read) -> Requirements:
    build = found.config.build or Build()
    packages, constraints = _lines(found, "build.python_packages", build.python_packages), ()
    packages = tuple(line for line in packages if not requirements.ours(line.text))
    if build.python_requirements:
        archive.check_packed(path, build.python_requirements, found.lines.get("build.python_requirements"))
        packages, constraints = requirements.read(path, build.python_requirements)
    steps = [step.command if isinstance(step, Step) else step for step in build.run or ()]
    return Requirements(
        python_version=str(build.python_version) if build.python_version is not None else None,
        python_line=found.lines.get("build.python_version"),
        packages=packages,
        constraints=constraints,
        first=_lines(found, "build.pre_install", build.pre_install),
        run=_lines(found, "build.run", steps),
    )


def _lines(found: Read, key: str, texts: list[str] | None) -> tuple[Line, ...]:
    """With their places in cog.yaml."""
    return tuple(
        Line(text, cog_yaml.FILE, found.lines.get(f"{key}[{index}]")) for index, text in enumerate(texts or ())
    )


def _concurrency(config: CogYaml) -> int | None:
    if config.concurrency is None:
        return None
    return config.concurrency.max or config.concurrency.default_target


def _notes(found: Read) -> list[str]:
    """What a stock Cog would do, and we leave to whoever set up the runner."""
    build = found.config.build or Build()
    asked = {
        "build.system_packages": (build.system_packages, "install them on the runner"),
        "build.cuda": (build.cuda, "the runner's own is used"),
        "build.cudnn": (build.cudnn, "the runner's own is used"),
        "build.gpu": (build.gpu, "the runner's own devices are used"),
        "build.sdk_version": (build.sdk_version, "the runner brings its own cog"),
        "weights": (found.config.weights, "set-up has to fetch them"),
        "observability": (found.config.observability, "the runner has its own"),
    }
    mounts = any(isinstance(step, Step) and step.mounts for step in build.run or ())
    notes = [_note(found, key, _shown(value), instead) for key, (value, instead) in asked.items() if value]
    return notes + ([_note(found, "build.run", " with mounts", "the commands run without them")] if mounts else [])


def _note(found: Read, key: str, value: str, instead: str) -> str:
    line = found.lines.get(key)
    return f"{cog_yaml.FILE}:{line}: {key}{value} is not handled here: {instead}"


def _shown(value: object) -> str:
    match value:
        case list():
            return f" ({', '.join(map(str, value))[:200]})"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case str() | int() if value is not True:
            return f" ({str(value)[:200]})"
        case _:
            return ""


def _readme(path: Path) -> str | None:
    file = path / "README.md"
    if file.is_symlink() and not file.resolve().is_relative_to(path):
        raise BadFolder(f"{file}: this link leads out of the folder", file.name)
    try:
        return file.read_text()[:_LONGEST_README] if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", file.name) from error


def _first_paragraph(readme: str) -> str | None:
    paragraphs = re.split(r"\n\s*\n", readme)
    return next((" ".join(p.split()) for p in paragraphs if p.strip() and not p.lstrip().startswith("#")), None)
