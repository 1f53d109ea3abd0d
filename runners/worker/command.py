"""The worker's command line: `serve FOLDER` and `introspect FOLDER`."""

import argparse
import faulthandler
import os
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run the command that the agent gave."""
    options = _parse(arguments)
    folder = options.folder.resolve()
    if options.what == "serve":
        _enable_faulthandler(options.fault_fd)
        from .serve import serve

        serve(folder, options.ref, options.fd, options.log_fd, options.home, train=options.train is not None)
    else:
        from .predictor.introspect import introspect

        introspect(folder, options.ref, options.fd, options.train or None)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker", description="Runs one Cog predictor for a runner agent.")
    parser.add_argument("what", choices=["serve", "introspect"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fd", type=int, required=True, help="the socket to the agent, or where to write the answer")
    parser.add_argument("--log-fd", type=int, help="the read end of the pipe that is this process's stdout and stderr")
    parser.add_argument("--fault-fd", type=int, default=2, help="where to write how the interpreter died")
    parser.add_argument("--ref", default="predict.py:Predictor", help="file.py:Name of the predictor")
    parser.add_argument("--home", help="the folder for inputs and outputs; whoever made it removes it")
    parser.add_argument(
        "--train", nargs="?", const="", help="serve: run its train method; introspect: file.py:name of its train"
    )
    return parser.parse_args(arguments)


def _enable_faulthandler(fd: int) -> None:
    """Write this process's faults to `fd`. A forked child's are output like any other: we are there to read it."""
    faulthandler.enable(fd)
    os.register_at_fork(after_in_child=lambda: faulthandler.enable(2))
