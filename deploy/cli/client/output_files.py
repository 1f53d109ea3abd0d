"""Files that a model made, saved under names that are still free."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from deploy.cli.client.api import Api


def save_files(api: Api, prediction: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Download the files of a prediction's output into `folder`, and yield each path."""
    folder.mkdir(parents=True, exist_ok=True)
    for url in find_urls(prediction["output"]):
        path = free_path(folder, prediction["id"], Path(unquote(urlsplit(url).path)).name or "output")
        api.download(url, path)
        yield path


def find_urls(output: Any) -> Iterator[str]:
    """Yield the URLs in an output, at any depth."""
    if isinstance(output, str) and output.startswith(("http://", "https://")):
        yield output
    elif isinstance(output, list | dict):
        for each in output.values() if isinstance(output, dict) else output:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            yield from find_urls(each)


def free_path(folder: Path, id: str, name: str) -> Path:
    """Return a path in `folder` that does not exist: the name itself, or the name after the prediction's id."""
    return next(path for path in _candidates(folder, id, name) if not path.exists())


def _candidates(folder: Path, id: str, name: str) -> Iterator[Path]:
    yield folder / name
    yield folder / f"{id}-{name}"
    number = 2
    while True:
        yield folder / f"{id}-{number}-{name}"
        number += 1
