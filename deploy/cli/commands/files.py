"""`samovar files …`: what was uploaded, to be used as inputs."""

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from deploy.cli.commands.options import LOCAL, Json, Token, Url, Yes

files: Final = App(name="files", help="Upload files to be used as inputs, look at them, fetch them, delete them.")


@files.command(name="list")
def list_files(
    *,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100,
    json: Json = False,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """The newest of your files: id, name, type, bytes, when it expires.

    Parameters
    ----------
    limit
        How many.
    json
        Print them as JSON.
    """
    from itertools import islice

    from deploy.cli.client.api import reached
    from deploy.cli.terminal.output import pretty, table

    with reached(url, token) as api:
        found = list(islice(api.pages("/v1/files"), limit))
    if json:
        print(pretty(found))
        return
    rows = [(each["id"], each["name"], each["content_type"], each["size"], each["expires_at"]) for each in found]
    table(("id", "name", "type", "bytes", "expires"), rows)


@files.command
def upload(path: Path, *, json: Json = False, url: Url = LOCAL, token: Token = None) -> None:
    """Upload a file, and print its address, which an input takes: samovar run owner/name -i image=ADDRESS.

    Parameters
    ----------
    json
        Print all that is known of it.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.client.inputs import media_type
    from deploy.cli.terminal.output import pretty
    from deploy.errors import Unusable

    if not path.is_file():
        raise Unusable(f"{path}: there is no such file")
    with reached(url, token) as api:
        made = api.uploaded(path, media_type(path))
    print(pretty(made) if json else made["urls"]["get"])


@files.command
def show(id: str, *, url: Url = LOCAL, token: Token = None) -> None:
    """What is known of a file, as JSON; its download address may be given to others until it expires."""
    from deploy.cli.client.api import reached
    from deploy.cli.terminal.output import pretty

    with reached(url, token) as api:
        print(pretty(api.get(f"/v1/files/{id}")))


@files.command
def download(id: str, *, output: Path | None = None, url: Url = LOCAL, token: Token = None) -> None:
    """Fetch a file, and print where it is.

    Parameters
    ----------
    output
        Where it goes; by default its own name, here.
    """
    from deploy.cli.client.api import reached

    with reached(url, token) as api:
        known = api.get(f"/v1/files/{id}")
        path = output or Path(_bare(known))
        api.save(known["urls"]["download"], path)
    print(path)


@files.command
def delete(id: str, *, yes: Yes = False, url: Url = LOCAL, token: Token = None) -> int:
    """Delete a file. A prediction that names it as an input, and has not begun, fails.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from deploy.cli.client.api import reached
    from deploy.cli.commands.delete import agreed

    with reached(url, token) as api:
        if not yes and not agreed(f"Delete the file {id}?"):
            return 1
        api.delete(f"/v1/files/{id}")
    return 0


def _bare(known: dict[str, Any]) -> str:
    """Its name, and no path, whatever somebody called it."""
    return Path(known["name"]).name or known["id"]
