"""The slots that builds and trainings borrow for their workers."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints
from schemas import phases


class SlotLender(Protocol):
    """The pool of instances, for workers that take no predictions."""

    def lend_slot(
        self, version: str, hints: Hints, offload: Path, phase: str = phases.LOADING
    ) -> AbstractAsyncContextManager[WorkerLimits]: ...
    def record_memory(self, version: str, *, host: int, device: int) -> None: ...
    def request_whole_host(self, version: str) -> bool: ...
