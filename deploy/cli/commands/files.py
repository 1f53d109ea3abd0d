"""The commands `samovar files …`."""

from itertools import islice
from pathlib import Path
from typing import Any, Final

from cyclopts import App

from deploy.cli.client.api import connect
from deploy.cli.client.inputs import guess_media_type
from deploy.cli.commands.options import LOCAL_URL, Json, Limit, Token, Url, Yes
from deploy.cli.terminal.output import Cells, Item, confirm, format_json, print_items
from deploy.errors import UsageError

files: Final = App(name="files")

COLUMNS: Final = ("id", "name", "type", "bytes", "expires")


@files.command(name="list")
def list_files(*, limit: Limit = 100, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """List your newest files: id, name, type, bytes, when it expires."""
    with connect(url, token) as api:
        print_items(list(islice(api.list_items("/v1/files"), limit)), COLUMNS, _file_cells, as_json=as_json)


@files.command(name="upload")
def upload_file(path: Path, *, as_json: Json = False, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Upload a file and print its address for use as an input: samovar run owner/name -i image=ADDRESS."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    with connect(url, token) as api:
        uploaded = api.upload_file(path, guess_media_type(path))
    print(format_json(uploaded) if as_json else uploaded["urls"]["get"])


@files.command(name="show")
def show_file(id: str, *, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Show the description of a file as JSON. You can share its download address until it expires."""
    with connect(url, token) as api:
        print(format_json(api.get(f"/v1/files/{id}")))


@files.command(name="download")
def download_file(id: str, *, output: Path | None = None, url: Url = LOCAL_URL, token: Token = None) -> None:
    """Download a file and print its path.

    Parameters
    ----------
    output
        Where to save the file; by default, in the current folder under its own name.
    """
    with connect(url, token) as api:
        file = api.get(f"/v1/files/{id}")
        path = output or Path(_safe_name(file))
        api.download(file["urls"]["download"], path)
    print(path)


@files.command(name="delete")
def delete_file(id: str, *, yes: Yes = False, url: Url = LOCAL_URL, token: Token = None) -> int:
    """Delete a file. A prediction that has it as an input and has not started fails."""
    with connect(url, token) as api:
        if not yes and not confirm(f"Delete the file {id}?"):
            return 1
        api.delete(f"/v1/files/{id}")
    return 0


def _safe_name(file: dict[str, Any]) -> str:
    """Return the name of a file without any path: somebody else chose it."""
    return Path(file["name"]).name or file["id"]


def _file_cells(file: Item) -> Cells:
    return file["id"], file["name"], file["content_type"], file["size"], file["expires_at"]
