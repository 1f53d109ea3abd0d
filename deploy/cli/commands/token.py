"""The command `samovar token`."""

import os
from typing import Annotated

from cyclopts import Parameter

from deploy.cli.commands.options import LOCAL_URL, DataDir, Url
from deploy.errors import UsageError
from deploy.local.data_dir import default_data_dir


def token(
    *,
    runner: Annotated[bool, Parameter(negative=())] = False,
    data_dir: DataDir = None,
    url: Annotated[Url, Parameter(help="The address at which the other host reaches the gateway.")] = LOCAL_URL,
) -> None:
    """Print the token that `samovar up` made, or the settings for a runner on another host.

    Parameters
    ----------
    runner
        Print the settings for a runner on another host, one per line. They include secrets.
    """
    folder = (data_dir or default_data_dir()).expanduser()
    if runner:
        from deploy.local.join_token import runner_settings  # here, as completion loads the modules of all commands

        for name, value in runner_settings(folder, url, os.environ):
            print(f"{name}={value}")
        return
    try:
        print((folder / "token").read_text().strip())
    except OSError as error:
        raise UsageError(
            f"{folder / 'token'}: {error.strerror}; `samovar up` makes this file. Use --data-dir for another place"
        ) from None
