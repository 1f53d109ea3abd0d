"""The memory limits of a worker's model, as torch, accelerate and transformers are made to see them."""

import functools
import gc
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..frames import Placement
from . import allocator
from .import_hooks import PostImportHooks
from .torch_modules import Device, device_name, imported_torch


class MemoryLimits:
    """The bytes of each device that one process may use, and a folder for weights that fit nowhere.

    `serve` installs the limits before user code runs; `dispatch` places modules within them. They are true if there
    are any.
    """

    def __init__(self, placement: Placement) -> None:
        self._limits: dict[Device, int] = {
            int(name) if name.isdigit() else name: limit for name, limit in placement.max_memory.items()
        }
        self._offload = placement.offload

    def __bool__(self) -> bool:
        return bool(self._limits)

    def install(self) -> None:
        """Impose the limits on libraries that user code will import. This imports nothing and touches no device."""
        if self:
            PostImportHooks(
                {
                    "torch": self.limit_torch,
                    "accelerate.utils.modeling": self._limit_accelerate,
                    "accelerate.big_modeling": self._provide_folder_to_accelerate,
                    "transformers.modeling_utils": self._provide_folder_to_transformers,
                }
            ).install()

    def by_device(self) -> dict[Device, int]:
        """Return the limits of the devices that exist."""
        torch = imported_torch()
        count = 0 if torch is None else torch.cuda.device_count()
        return {
            device: limit for device, limit in self._limits.items() if not isinstance(device, int) or device < count
        }

    def remaining(self) -> dict[Device, int]:
        """Return how many bytes of each device are still free to use."""
        return subtract(self.by_device(), bytes_in_use())

    def new_offload_folder(self) -> str | None:
        """Return the path of a folder that nobody has used: accelerate takes an index that it finds for its own."""
        return None if self._offload is None else str(Path(self._offload) / os.urandom(8).hex())

    def limit_torch(self, torch: ModuleType) -> None:
        """Make an allocation above the limit fail as if the device were full; it harms nobody else on the device."""
        allocator.return_large_blocks()
        cuda = getattr(torch, "cuda", None)
        if cuda is None or not any(isinstance(device, int) for device in self._limits):
            return

        def set_fractions() -> None:
            for device in range(cuda.device_count()):
                if (limit := self._limits.get(device)) is not None:
                    total = cuda.get_device_properties(device).total_memory
                    cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)

        cuda._lazy_call(set_fractions)  # when the predictor first uses a device

    def _limit_accelerate(self, modeling: ModuleType) -> None:
        original = modeling.get_max_memory

        @functools.wraps(original)
        def get_max_memory(max_memory: dict[Device, Any] | None = None) -> dict[Device, Any]:
            if max_memory is None:
                return self.remaining()
            limits = self.by_device()
            return {device: min(n, limits.get(device, n)) for device, n in original(max_memory).items()}

        modeling.get_max_memory = get_max_memory  # pyright: ignore[reportAttributeAccessIssue]

    def _provide_folder_to_accelerate(self, big_modeling: ModuleType) -> None:
        self._provide_folder(big_modeling, "dispatch_model", "offload_dir", unless=("offload_index",))
        self._provide_folder(big_modeling, "load_checkpoint_and_dispatch", "offload_folder")

    def _provide_folder_to_transformers(self, modeling_utils: ModuleType) -> None:
        load = modeling_utils.PreTrainedModel.from_pretrained.__func__

        @functools.wraps(load)
        def from_pretrained(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("device_map") is not None and kwargs.get("offload_folder") is None:
                kwargs["offload_folder"] = self.new_offload_folder()
            return load(cls, *args, **kwargs)

        modeling_utils.PreTrainedModel.from_pretrained = classmethod(from_pretrained)

    def _provide_folder(self, module: ModuleType, name: str, option: str, unless: tuple[str, ...] = ()) -> None:
        """Pass a folder as `option` where user code names none. It is created only if it is needed."""
        call: Callable[..., Any] = getattr(module, name)
        signature = inspect.signature(call)

        @functools.wraps(call)
        def call_with_folder(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind_partial(*args, **kwargs)
            if all(bound.arguments.get(argument) is None for argument in (option, *unless)):
                bound.arguments[option] = self.new_offload_folder()
            return call(*bound.args, **bound.kwargs)

        setattr(module, name, call_with_folder)


def subtract(limits: Mapping[Device, int], used: Mapping[Device, int]) -> dict[Device, int]:
    """Return what is left of each limit, never less than zero."""
    return {device: max(0, n - used.get(device, 0)) for device, n in limits.items()}


def bytes_in_use() -> Counter[Device]:
    """Return the bytes that torch's tensors in this process take now, by device."""
    torch: Any = sys.modules["torch"]
    gc.collect()
    return storage_bytes(candidate for candidate in gc.get_objects() if _is_plain_tensor(candidate, torch.Tensor))


def _is_plain_tensor(candidate: object, tensor: Any) -> bool:
    """Tell tensors from those with a dispatch of their own, which wrap others that count by themselves, or pretend."""
    kind: Any = type(candidate)
    return issubclass(kind, tensor) and kind.__torch_dispatch__ is tensor.__torch_dispatch__


def storage_bytes(tensors: Iterable[Any]) -> Counter[Device]:
    """Return the bytes of the tensors' storages, by device. A storage that several share counts once."""
    storages: dict[tuple[Device, int], int] = {}
    for tensor in tensors:
        if tensor.device.type in ("cpu", "cuda"):
            address, size = _storage(tensor)
            storages[device_name(tensor.device), address] = size
    total: Counter[Device] = Counter()
    for (device, _), size in storages.items():
        total[device] += size
    return total


def _storage(tensor: Any) -> tuple[int, int]:
    """Return what identifies the tensor's storage, and its size in bytes."""
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except RuntimeError:  # a sparse one has several, and a quantized one may hide them
        return -id(tensor), tensor.numel() * tensor.element_size()
