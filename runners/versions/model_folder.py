"""A model's Cog folder on disk: its predictor, its requirements and the version of its content."""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from runners.errors import BadFolder
from runners.versions import archive, cog_yaml, requirements
from runners.versions.cog_yaml import Build, CogYaml, ParsedCogYaml, Step
from runners.versions.requirements import NO_REQUIREMENTS, Requirements, SourceLine
from schemas.models import version_id

BUNDLED_OWNER: Final = "samovar"
"""Of the bundled models."""

_FOLDER_NAME: Final = re.compile(r"[a-z0-9]+([._-]{1,2}[a-z0-9]+)*")
_MAX_README_CHARS: Final = 200_000  # it travels in one message with the schema


class ModelFolder(Struct, frozen=True, kw_only=True):
    """A validated Cog folder."""

    path: Path
    owner: str
    name: str
    ref: str
    """`file.py:Name` of the predictor."""
    train: str | None = None
    """`file.py:name` of its training function."""
    version: str
    """64 hex digits: the sha256 of owner/name and content."""
    environment: dict[str, str]
    requirements: Requirements = NO_REQUIREMENTS
    concurrency: int | None = None
    notes: list[str] = []
    """Settings in cog.yaml that have no effect here."""
    description: str | None
    readme: str | None


def read(path: Path, owner: str = BUNDLED_OWNER, name: str | None = None, *, version: str | None = None) -> ModelFolder:
    """Read the folder of the model `owner/name`; `name` defaults to the folder's own name. Raises `BadFolder`.

    If the `version` is known, the content is not hashed.
    """
    path = path.resolve()
    if not path.is_dir():
        raise BadFolder(f"{path}: there is no such folder")
    if name is None and not _FOLDER_NAME.fullmatch(path.name):
        raise BadFolder(f"{path}: the folder's name is the model's, and may only hold a-z, 0-9 and . _ - between them")
    name = name or path.name
    parsed = cog_yaml.read(path / cog_yaml.FILE_NAME)
    config = parsed.config
    readme = _readme(path)
    return ModelFolder(
        path=path,
        owner=owner,
        name=name,
        ref=_ref(path, parsed),
        train=_train(path, parsed),
        version=version or version_id(owner, name, archive.describe(path).digest),
        environment={key: value for key, _, value in (line.partition("=") for line in config.environment or [])},
        requirements=_requirements(path, parsed),
        concurrency=_concurrency(config),
        notes=_notes(parsed),
        description=_first_paragraph(readme) if readme else None,
        readme=readme,
    )


def _ref(path: Path, parsed: ParsedCogYaml) -> str:
    key = "run" if parsed.config.run else "predict"
    ref = parsed.config.run or parsed.config.predict
    if not ref:
        reason = f'predict is missing; it names the predictor, as in "{cog_yaml.DEFAULT_REF}"'
        raise BadFolder(f"{parsed.file}: {reason}", cog_yaml.FILE_NAME, 1, reason)
    _check_reference(path, parsed, key, ref)
    return ref


def _train(path: Path, parsed: ParsedCogYaml) -> str | None:
    if parsed.config.train:
        _check_reference(path, parsed, "train", parsed.config.train)
    return parsed.config.train or None


def _check_reference(path: Path, parsed: ParsedCogYaml, key: str, ref: str) -> None:
    file = ref.partition(":")[0]
    if not file.endswith(".py") or not (path / file).resolve().is_relative_to(path):
        raise parsed.error_at(
            key, f'must name a Python file in the folder, as in "{cog_yaml.DEFAULT_REF}", not {ref!r}'
        )
    if not (path / file).is_file():
        raise parsed.error_at(key, f"names {file}, and there is no such file")
    archive.check_included(path, file, parsed.lines.get(key))


def _requirements(path: Path, parsed: ParsedCogYaml) -> Requirements:
    build = parsed.config.build or Build()
    packages, constraints = _lines(parsed, "build.python_packages", build.python_packages), ()
    packages = tuple(line for line in packages if not requirements.is_cog_sdk(line.text))
    if build.python_requirements:
        archive.check_included(path, build.python_requirements, parsed.lines.get("build.python_requirements"))
        packages, constraints = requirements.read_lines(path, build.python_requirements)
    steps = [step.command if isinstance(step, Step) else step for step in build.run or ()]
    return Requirements(
        python_version=str(build.python_version) if build.python_version is not None else None,
        python_line=parsed.lines.get("build.python_version"),
        packages=packages,
        constraints=constraints,
        pre_install=_lines(parsed, "build.pre_install", build.pre_install),
        run=_lines(parsed, "build.run", steps),
    )


def _lines(parsed: ParsedCogYaml, key: str, texts: list[str] | None) -> tuple[SourceLine, ...]:
    """Return these texts with their lines in cog.yaml."""
    return tuple(
        SourceLine(text, cog_yaml.FILE_NAME, parsed.lines.get(f"{key}[{index}]"))
        for index, text in enumerate(texts or ())
    )


def _concurrency(config: CogYaml) -> int | None:
    if config.concurrency is None:
        return None
    return config.concurrency.max or config.concurrency.default_target


def _notes(parsed: ParsedCogYaml) -> list[str]:
    """Return notes on what Cog itself would do, and we leave to the operator of the runner."""
    build = parsed.config.build or Build()
    ignored = {
        "build.system_packages": (build.system_packages, "install them on the runner"),
        "build.cuda": (build.cuda, "the runner's own is used"),
        "build.cudnn": (build.cudnn, "the runner's own is used"),
        "build.gpu": (build.gpu, "the runner's own devices are used"),
        "build.sdk_version": (build.sdk_version, "the runner brings its own cog"),
        "weights": (parsed.config.weights, "setup has to fetch them"),
        "observability": (parsed.config.observability, "the runner has its own"),
    }
    mounts = any(isinstance(step, Step) and step.mounts for step in build.run or ())
    notes = [_note(parsed, key, _format_value(value), instead) for key, (value, instead) in ignored.items() if value]
    return notes + ([_note(parsed, "build.run", " with mounts", "the commands run without them")] if mounts else [])


def _note(parsed: ParsedCogYaml, key: str, value: str, instead: str) -> str:
    line = parsed.lines.get(key)
    return f"{cog_yaml.FILE_NAME}:{line}: {key}{value} is not handled here: {instead}"


def _format_value(value: object) -> str:
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
        return file.read_text()[:_MAX_README_CHARS] if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFolder(f"{file}: {error}", file.name) from error


def _first_paragraph(readme: str) -> str | None:
    paragraphs = re.split(r"\n\s*\n", readme)
    return next((" ".join(p.split()) for p in paragraphs if p.strip() and not p.lstrip().startswith("#")), None)
