"""Memory that a worker holds: how much of the devices', and how it is given back while the model rests."""

import gc
import sys
from collections.abc import Mapping
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any, Final, Protocol

from ..frames import FromWorker, Park, Parked, Took
from ..predictor.loader import describe
from . import allocator
from .torch_modules import Module, fetched, imported, spread, tensors

WORTH: Final = 16_000_000  # bytes


class Sink(Protocol):
    def send(self, *frames: FromWorker) -> None: ...


class Memory:
    """Of a predictor that is set up. Its `modules` may be moved."""

    def __init__(self, modules: Mapping[str, Module], link: Sink) -> None:
        self._modules = modules
        self._link = link
        self._homes: dict[int, Any] = {}
        """Devices of tensors that are parked, by where they lie meanwhile."""
        self._parked = False
        self._told = 0
        self._host = resident()

    def parkable(self) -> bool:
        """All that is on a device can leave it and come back, as far as one can see."""
        modules = self._modules.values()
        if any(fetched(module) or spread(module) for module in modules):
            return False
        return not _cuda() or any(tensor.is_cuda for module in modules for tensor in tensors(module))

    def peak(self) -> int:
        """The most that torch has had of all devices together, in bytes."""
        cuda = _cuda()
        if not cuda:
            return 0
        stats = [cuda.memory_stats_as_nested_dict(device) for device in range(cuda.device_count())]
        self._told = sum(found["reserved_bytes"]["all"]["peak"] for found in stats)
        return self._told

    def tell(self) -> None:
        """If it has grown since it was last asked for, by what is worth a word."""
        before, host = self._told, resident()
        if self.peak() > before or host >= self._host + WORTH:
            self._host = host
            self._link.send(Took(self._told, host))

    def answer(self, park: Park) -> None:
        began = perf_counter()
        error = None
        if park.parked != self._parked:
            error = self._leave() if park.parked else self._come_back()
        self._link.send(Parked(self._parked, perf_counter() - began, error))

    def _leave(self) -> str | None:
        try:
            self._move(self._to_cpu)
            self._parked = True
        except Exception as error:  # noqa: BLE001  whatever torch says, it goes on where it was
            self._move(self._home)
            return f"the model stays on its device: {describe(error)}"
        finally:
            give_back()
        return None

    def _come_back(self) -> str | None:
        try:
            self._move(self._home)
        except Exception as error:  # noqa: BLE001  most likely no room is left
            self._move(self._to_cpu)
            give_back()
            return f"the model stays parked: {describe(error)}"
        self._homes.clear()
        self._parked = False
        return None

    def _move(self, to: Any) -> None:
        for module in self._modules.values():
            module._apply(to)  # as `.to` does it, so that what is tied stays tied

    def _to_cpu(self, tensor: Any) -> Any:
        if not tensor.is_cuda:
            return tensor
        moved = tensor.to("cpu")
        self._homes[moved.data_ptr()] = tensor.device
        return moved

    def _home(self, tensor: Any) -> Any:
        device = None if tensor.is_cuda else self._homes.get(tensor.data_ptr())
        return tensor if device is None else tensor.to(device)


def resident() -> int:
    """Bytes of this process, the most that there were: half a microsecond, where /proc takes ten."""
    size = getrusage(RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def give_back() -> None:
    """What nobody uses any more goes to the system, and to the others on the device."""
    gc.collect()
    if cuda := _cuda():
        cuda.empty_cache()
    allocator.trim()


def _cuda() -> Any:
    """`torch.cuda`, if the predictor uses it."""
    torch = imported()
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
