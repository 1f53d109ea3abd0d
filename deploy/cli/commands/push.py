"""The command `samovar push`."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from deploy.cli.client.api import connect
from deploy.cli.client.references import parse_model
from deploy.cli.commands.options import LOCAL_URL, Inputs, JsonResult, OutputDir, Token, Url
from deploy.cli.commands.run import run_model
from deploy.errors import UsageError


def push(
    folder: Path,
    model: str,
    *,
    watch: Annotated[bool, Parameter(negative=())] = False,
    max_batch_size: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    max_batch_wait_ms: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    input: Inputs = (),
    output_dir: OutputDir = Path(),
    as_json: JsonResult = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> int:
    """Push a Cog folder as a new version of a model, and show its build. Ctrl-C cancels the push.

    Parameters
    ----------
    folder
        The folder with cog.yaml and the predictor. Files that its .dockerignore lists are not sent.
    model
        owner/name.
    watch
        Push again whenever a file changes. With -i, run each version that was built with these inputs.
    max_batch_size
        The maximum number of predictions in one call, instead of the predictor's own number.
    max_batch_wait_ms
        How long a prediction waits for others to share its call, instead of the predictor's own number.
    """
    # Imported here, as completion loads the modules of all commands.
    from deploy.cli.folder.push import PushSource, push_changes, push_once

    if input and not watch:
        raise UsageError("-i needs --watch; to run a version that you have pushed, use `samovar run`")
    environment = _batching_environment(max_batch_size, max_batch_wait_ms)
    with connect(url, token) as api:
        source = PushSource(folder, parse_model(model), environment)
        if not watch:
            return push_once(api, source, as_json=as_json)
        run_version = partial(run_model, api, pairs=input, output_dir=output_dir, as_json=as_json) if input else None
        return push_changes(api, source, run_version, as_json=as_json)


def _batching_environment(max_batch_size: int | None, max_batch_wait_ms: float | None) -> dict[str, str]:
    """Return the operator's choices about batches as variables of the model's environment."""
    choices = {"SAMOVAR_MAX_BATCH_SIZE": max_batch_size, "SAMOVAR_MAX_BATCH_WAIT_MS": max_batch_wait_ms}
    return {name: f"{value:g}" for name, value in choices.items() if value is not None}
