"""Options that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Group, Parameter

from deploy.errors import UsageError

CONNECTION: Final = Group("Connection", sort_key=9)
LOCAL_URL: Final = "http://127.0.0.1:8000"

DataDir = Annotated[
    Path | None,
    Parameter(name="--data-dir", env_var="SAMOVAR_DATA_DIR", help="The directory with all data of `samovar up`."),
]
Url = Annotated[
    str, Parameter(name="--url", env_var="SAMOVAR_URL", group=CONNECTION, help="The address of the gateway.")
]
Token = Annotated[
    str | None,
    Parameter(
        name="--token",
        env_var="SAMOVAR_TOKEN",
        group=CONNECTION,
        show_env_var=True,
        help="Your API token. By default, the token that `samovar up` stored on this machine.",
    ),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON instead of text.")]
JsonResult = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print the whole result as JSON, once it has ended.")
]
JsonLines = Annotated[bool, Parameter(name="--json", negative=(), help="Print a line of JSON for each event.")]
Inputs = Annotated[
    tuple[str, ...],
    Parameter(
        name=["--input", "-i"],
        negative=(),
        help="An input as name=value, or as name=@file to send a file. Repeat it for each input.",
    ),
]
OutputDir = Annotated[Path, Parameter(name="--output-dir", help="The folder in which to save files from the model.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), help="Delete without asking for confirmation.")]
Limit = Annotated[int, Parameter(name=["--limit", "-n"], help="The maximum number of results.")]


def without_unset(options: Mapping[str, str | None]) -> dict[str, str]:
    """Return the options that were given on the command line."""
    return {name: value for name, value in options.items() if value is not None}


def read_text(value: str) -> str:
    """Return a text option, or the content of the file that it names as `@file`. Raises `UsageError`."""
    if not value.startswith("@"):
        return value
    path = value[1:]
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or 'this is not a text file'}") from None
