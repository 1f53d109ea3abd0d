"""What a worker's model may take of this host's memory, as torch, accelerate and transformers are made to see it."""

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
from .import_hooks import Afterwards
from .torch_modules import Device, imported, named


class Share:
    """A part of each device, in bytes, and a folder for what fits nowhere; all of it may be used by one process."""

    def __init__(self, plan: Placement) -> None:
        self._most: dict[Device, int] = {
            int(name) if name.isdigit() else name: most for name, most in plan.max_memory.items()
        }
        self._offload = plan.offload

    def __bool__(self) -> bool:
        """There are limits."""
        return bool(self._most)

    def impose(self) -> None:
        """On what user code will import; nothing is imported for it, and no device is touched."""
        if self:
            Afterwards(
                {
                    "torch": self.limit,
                    "accelerate.utils.modeling": self._tell_accelerate,
                    "accelerate.big_modeling": self._lend_accelerate,
                    "transformers.modeling_utils": self._lend_transformers,
                }
            ).install()

    def most(self) -> dict[Device, int]:
        """Of the devices that are there."""
        torch = imported()
        count = 0 if torch is None else torch.cuda.device_count()
        return {device: most for device, most in self._most.items() if not isinstance(device, int) or device < count}

    def left(self) -> dict[Device, int]:
        return rest(self.most(), held())

    def folder(self) -> str | None:
        """One that nobody has used: accelerate takes an index that it finds in a folder for its own."""
        return None if self._offload is None else str(Path(self._offload) / os.urandom(8).hex())

    def limit(self, torch: ModuleType) -> None:
        """To take more of a device fails as if it were full, and harms nobody else on it."""
        allocator.give_back_large()
        cuda = getattr(torch, "cuda", None)
        if cuda is None or not any(isinstance(device, int) for device in self._most):
            return

        def wall() -> None:
            for device in range(cuda.device_count()):
                if (most := self._most.get(device)) is not None:
                    whole = cuda.get_device_properties(device).total_memory
                    cuda.set_per_process_memory_fraction(min(1.0, most / whole), device)

        cuda._lazy_call(wall)  # when the predictor first uses a device

    def _tell_accelerate(self, modeling: ModuleType) -> None:
        ask = modeling.get_max_memory

        @functools.wraps(ask)
        def get_max_memory(max_memory: dict[Device, Any] | None = None) -> dict[Device, Any]:
            if max_memory is None:
                return self.left()
            most = self.most()
            return {device: min(n, most.get(device, n)) for device, n in ask(max_memory).items()}

        modeling.get_max_memory = get_max_memory  # pyright: ignore[reportAttributeAccessIssue]

    def _lend_accelerate(self, big_modeling: ModuleType) -> None:
        self._lend(big_modeling, "dispatch_model", "offload_dir", unless=("offload_index",))
        self._lend(big_modeling, "load_checkpoint_and_dispatch", "offload_folder")

    def _lend_transformers(self, modeling_utils: ModuleType) -> None:
        load = modeling_utils.PreTrainedModel.from_pretrained.__func__

        @functools.wraps(load)
        def from_pretrained(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("device_map") is not None and kwargs.get("offload_folder") is None:
                kwargs["offload_folder"] = self.folder()
            return load(cls, *args, **kwargs)

        modeling_utils.PreTrainedModel.from_pretrained = classmethod(from_pretrained)

    def _lend(self, module: ModuleType, name: str, option: str, unless: tuple[str, ...] = ()) -> None:
        """The folder for `option`, where user code names none. It is made only if it is needed."""
        call: Callable[..., Any] = getattr(module, name)
        signature = inspect.signature(call)

        @functools.wraps(call)
        def lent(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind_partial(*args, **kwargs)
            if all(bound.arguments.get(given) is None for given in (option, *unless)):
                bound.arguments[option] = self.folder()
            return call(*bound.args, **bound.kwargs)

        setattr(module, name, lent)


def rest(most: Mapping[Device, int], taken: Mapping[Device, int]) -> dict[Device, int]:
    return {device: max(0, n - taken.get(device, 0)) for device, n in most.items()}


def held() -> Counter[Device]:
    """What torch's tensors in this process take now, by device."""
    torch: Any = sys.modules["torch"]
    gc.collect()
    return sizes(thing for thing in gc.get_objects() if _holds(thing, torch.Tensor))


def _holds(thing: object, tensor: Any) -> bool:
    """Those that have a dispatch of their own are wrappers, or pretend: what they wrap counts by itself."""
    kind: Any = type(thing)
    return issubclass(kind, tensor) and kind.__torch_dispatch__ is tensor.__torch_dispatch__


def sizes(tensors: Iterable[Any]) -> Counter[Device]:
    """A storage that several of them share counts once."""
    storages: dict[tuple[Device, int], int] = {}
    for tensor in tensors:
        if tensor.device.type in ("cpu", "cuda"):
            address, size = _storage(tensor)
            storages[named(tensor.device), address] = size
    total: Counter[Device] = Counter()
    for (device, _), size in storages.items():
        total[device] += size
    return total


def _storage(tensor: Any) -> tuple[int, int]:
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except RuntimeError:  # a sparse one has several, and a quantized one may hide them
        return -id(tensor), tensor.numel() * tensor.element_size()
