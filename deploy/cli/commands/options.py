"""What several commands take: how the gateway is reached, and what is printed."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Group, Parameter

CONNECTION: Final = Group("Connection", sort_key=9)
LOCAL: Final = "http://127.0.0.1:8000"

DataDir = Annotated[Path | None, Parameter(name="--data-dir", env_var="SAMOVAR_DATA_DIR")]
Url = Annotated[str, Parameter(name="--url", env_var="SAMOVAR_URL", group=CONNECTION)]
Token = Annotated[str | None, Parameter(name="--token", env_var="SAMOVAR_TOKEN", group=CONNECTION, show_env_var=True)]
Json = Annotated[bool, Parameter(name="--json", negative=())]
Inputs = Annotated[tuple[str, ...], Parameter(name=["--input", "-i"], negative=())]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=())]
