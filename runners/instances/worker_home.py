"""The folders of one worker process."""

import asyncio
import shutil
from pathlib import Path
from typing import Final

from runners.process import scratch

OFFLOAD: Final = "offload"


class WorkerHome:
    """A folder for the files of a worker's runs, and one for the weights that it offloads.

    The latter is in the cache: the folder for temporary files may be in memory.
    """

    def __init__(self, cache_dir: str) -> None:
        self.path = scratch.create_worker_folder()
        self.offload = Path(cache_dir) / OFFLOAD / Path(self.path).name

    async def remove(self, after: list[asyncio.Task[None]]) -> None:
        """Remove both folders once these jobs have ended: their outputs may still be on the way out of there."""
        if after:
            await asyncio.wait(after)
        for folder in (self.path, self.offload):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
