"""Checks of a model's folder before anything is sent or built, with the errors that a push would report."""

from pathlib import Path

from deploy.errors import UsageError
from runners.errors import BadFolder
from runners.versions import model_folder
from runners.versions.model_folder import ModelFolder


def check_folder(folder: Path, model: str) -> ModelFolder:
    """Read a Cog folder that is to become a version of `model` (owner/name). Raises `UsageError`."""
    owner, _, name = model.partition("/")
    path = folder.expanduser()
    if not path.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    try:
        return model_folder.read(path, owner, name)
    except BadFolder as error:
        raise UsageError(describe_error("config", error.file, error.line, error.reason)) from None


def describe_error(stage: str, file: str | None, line: int | None, reason: str) -> str:
    """Format an error as `config: cog.yaml:3: …`, as far as file and line are known."""
    number = f":{line}" if line else ""
    place = f"{file}{number}: " if file else ""
    return f"{stage}: {place}{reason.removeprefix(place)}"
