"""The command `samovar`: the list of its commands."""

import os
import sys
from importlib.metadata import version
from typing import Final

from cyclopts import App

from deploy.cli.commands.completion import Shell, print_completion
from deploy.errors import DeployError

COMMANDS: Final = {
    "account": ("accounts:account", "Show the account that your token belongs to."),
    "accounts": ("accounts:accounts", "Create, list, change and delete accounts. Needs a token with the scope admin."),
    "collections": ("collections:collections", "List collections of models. Admins can create and change them."),
    "deployments": (
        "deployments:deployments",
        "Create and manage deployments: a version kept ready under a fixed name.",
    ),
    "files": ("files:files", "Upload, list, download and delete files to use as inputs."),
    "gateway": (
        "gateway:gateway",
        "Run one gateway. Its settings come from the environment: SAMOVAR_DATABASE_URL, SAMOVAR_NATS_URL and others.",
    ),
    "gc": ("gc:gc", "List the files in the file store that nothing uses any more, and how much space they take."),
    "hardware": ("hardware:hardware", "List the hardware that deployments can ask for: SKU and name."),
    "models": ("models:models", "List, search, create, change and delete models and their versions."),
    "predict": ("predict:predict", "Run a Cog folder once on this machine, without a server. Ctrl-C stops it."),
    "predictions": ("predictions:predictions", "List, follow and cancel predictions."),
    "push": (
        "push:push",
        "Push a Cog folder as a new version of a model, and show its build. Ctrl-C cancels the push.",
    ),
    "run": ("run:run", "Run a model, and print its output as it arrives. Ctrl-C cancels the prediction."),
    "runner": ("runner:runner", "Run one runner. Its settings come from the environment: SAMOVAR_NATS_URL and others."),
    "runners": (
        "runners:runners",
        "Show the hosts that run models: memory, devices, loaded instances, and queues.\n\n"
        "In a pipe, print a line for each instance: "
        "host, model, version, state, devices, bytes, running, queued, idle seconds.",
    ),
    "search": ("search:search", "Search for models and collections, best match first: kind, name, description."),
    "token": ("token:token", "Print the token that `samovar up` made, or the settings for a runner on another host."),
    "tokens": ("tokens:tokens", "Create, list and revoke API tokens."),
    "train": (
        "trainings:train",
        "Train a model, show its log, and print the version that it makes. Ctrl-C cancels the training.",
    ),
    "trainings": ("trainings:trainings", "List, follow and cancel trainings."),
    "up": ("up:up", "Run all of Samovar on this machine: NATS, PostgreSQL, a gateway and a runner, in the foreground."),
    "webhooks": ("webhooks:webhooks", "List webhook deliveries, send them again, and manage their secret."),
}
"""Each command's function or group, as module and name in `deploy.cli.commands`, and the text that --help shows.

They are named, not imported: `samovar --help` loads none of them, and a command loads only what it needs.
"""

app: Final = App(
    name="samovar",
    help="A self-hosted inference gateway that speaks Replicate's HTTP API.",
    version_flags=["--version"],
    version=lambda: version("samovar"),
)
for _name, (_target, _summary) in COMMANDS.items():
    app.command(f"deploy.cli.commands.{_target}", name=_name, help=_summary)
app.command("benchmarks.cli:bench", name="bench", help="Measure a server: Samovar, or another one.")


@app.command
def completion(shell: Shell | None = None, /) -> None:
    """Print a completion script for your shell. To use it in bash: eval "$(samovar completion bash)".

    Parameters
    ----------
    shell
        The shell that you use. By default, the one that the variable SHELL names.
    """
    print_completion(app, shell)


def main() -> None:
    """Run the command line. An error that Samovar knows is one line on stderr and the exit status 1."""
    try:
        app()
    except DeployError as error:
        print(f"samovar: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output has seen enough: `samovar predictions list | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
