"""The worker's command line: `serve FOLDER` and `introspect FOLDER`."""

import argparse
import faulthandler
import os
from pathlib import Path


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="worker", description="Runs one Cog predictor for a runner agent.")
    parser.add_argument("what", choices=["serve", "introspect"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fd", type=int, required=True, help="a socket to the agent, or where to write")
    parser.add_argument("--log-fd", type=int, help="the read end of the pipe that is this process's stdout and stderr")
    parser.add_argument("--fault-fd", type=int, default=2, help="where to write how the interpreter died")
    parser.add_argument("--ref", default="predict.py:Predictor", help="file.py:Name of the predictor")
    parser.add_argument("--home", help="where inputs and outputs may lie; whoever made the folder removes it")
    parser.add_argument(
        "--train", nargs="?", const="", help="serve: its train is what runs; introspect: file.py:name of its train"
    )
    given = parser.parse_args(arguments)
    if given.what == "serve":
        _tell_faults(given.fault_fd)
        from .serve import serve

        serve(given.folder.resolve(), given.ref, given.fd, given.log_fd, given.home, train=given.train is not None)
    else:
        from .predictor.introspect import introspect

        introspect(given.folder.resolve(), given.ref, given.fd, given.train or None)


def _tell_faults(fd: int) -> None:
    """Of this process. A forked child's are a line of output like any other: we are there to read it."""
    faulthandler.enable(fd)
    os.register_at_fork(after_in_child=lambda: faulthandler.enable(2))
