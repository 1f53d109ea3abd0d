"""A model's folder, checked before anything is sent or built: what is wrong is told as a push would tell it."""

from pathlib import Path

from deploy.errors import Unusable
from runners.errors import BadFolder
from runners.versions import model_folder
from runners.versions.model_folder import Folder


def checked(folder: Path, model: str) -> Folder:
    """`model` is owner/name. Raises `Unusable`."""
    owner, _, name = model.partition("/")
    path = folder.expanduser()
    if not path.is_dir():
        raise Unusable(f"{folder}: there is no such folder")
    try:
        return model_folder.read(path, owner, name)
    except BadFolder as error:
        raise Unusable(told(error)) from None


def told(error: BadFolder) -> str:
    return placed("config", error.file, error.line, error.reason)


def placed(stage: str, file: str | None, line: int | None, reason: str) -> str:
    """`config: cog.yaml:3: …`, as far as the place is known."""
    number = f":{line}" if line else ""
    place = f"{file}{number}: " if file else ""
    return f"{stage}: {place}{reason.removeprefix(place)}"
