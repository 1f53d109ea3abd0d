"""Parking: a model's weights move to host memory while it rests, and back. Also what memory a worker has needed."""

import gc
import sys
from collections.abc import Mapping
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any, Final, Protocol

from ..errors import describe_error
from ..frames import FromWorker, MemoryPeak, Park, Parked
from . import allocator
from .torch_modules import Module, imported_torch, is_offloaded, is_spread, tensors_of

REPORT_BYTES: Final = 16_000_000
"""By how much resident memory has to grow before it is reported again."""


class FrameSink(Protocol):
    """A sender of frames to the agent."""

    def send(self, *frames: FromWorker) -> None: ...


class ModelMemory:
    """The memory of a predictor that is set up: it parks the predictor's modules and reports memory peaks.

    The loops of `run` own it and call it between calls into user code. `modules` are those that may be moved.
    """

    def __init__(self, modules: Mapping[str, Module], agent: FrameSink) -> None:
        self._modules = modules
        self._agent = agent
        self._devices: dict[int, Any] = {}
        """The devices of parked tensors, by where each lies in host memory meanwhile."""
        self._parked = False
        self._device_peak = 0
        self._host_peak = peak_resident_bytes()

    def is_parkable(self) -> bool:
        """Return whether all that is on a device can leave it and come back, as far as one can see."""
        modules = self._modules.values()
        if any(is_offloaded(module) or is_spread(module) for module in modules):
            return False
        return not _cuda() or any(tensor.is_cuda for module in modules for tensor in tensors_of(module))

    def measure_device_peak(self) -> int:
        """Return the most that torch has had of all devices together, in bytes."""
        cuda = _cuda()
        if not cuda:
            return 0
        stats = [cuda.memory_stats_as_nested_dict(device) for device in range(cuda.device_count())]
        self._device_peak = sum(of_device["reserved_bytes"]["all"]["peak"] for of_device in stats)
        return self._device_peak

    def report_growth(self) -> None:
        """Send the peaks if they have grown since they were last measured: the host's by at least `REPORT_BYTES`."""
        before, host = self._device_peak, peak_resident_bytes()
        if self.measure_device_peak() > before or host >= self._host_peak + REPORT_BYTES:
            self._host_peak = host
            self._agent.send(MemoryPeak(self._device_peak, host))

    def carry_out(self, request: Park) -> None:
        """Park the model or bring it back, as requested, and answer with `Parked`."""
        started = perf_counter()
        error = None
        if request.parked != self._parked:
            error = self._park() if request.parked else self._unpark()
        self._agent.send(Parked(self._parked, perf_counter() - started, error))

    def _park(self) -> str | None:
        try:
            self._move(self._to_cpu)
            self._parked = True
        except Exception as error:  # noqa: BLE001  whatever torch says, it goes on where it was
            self._move(self._to_device)
            return f"the model stays on its device: {describe_error(error)}"
        finally:
            release_memory()
        return None

    def _unpark(self) -> str | None:
        try:
            self._move(self._to_device)
        except Exception as error:  # noqa: BLE001  most likely no room is left
            self._move(self._to_cpu)
            release_memory()
            return f"the model stays parked: {describe_error(error)}"
        self._devices.clear()
        self._parked = False
        return None

    def _move(self, to: Any) -> None:
        for module in self._modules.values():
            module._apply(to)  # as `.to` does it, so that what is tied stays tied

    def _to_cpu(self, tensor: Any) -> Any:
        if not tensor.is_cuda:
            return tensor
        moved = tensor.to("cpu")
        self._devices[moved.data_ptr()] = tensor.device
        return moved

    def _to_device(self, tensor: Any) -> Any:
        device = None if tensor.is_cuda else self._devices.get(tensor.data_ptr())
        return tensor if device is None else tensor.to(device)


def peak_resident_bytes() -> int:
    """Return the most resident memory that this process has had: half a microsecond, where /proc takes ten."""
    size = getrusage(RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def release_memory() -> None:
    """Return memory that nobody uses any more to the system, and to the others on the device."""
    gc.collect()
    if cuda := _cuda():
        cuda.empty_cache()
    allocator.trim()


def _cuda() -> Any:
    """Return `torch.cuda` if the predictor uses it."""
    torch = imported_torch()
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
