"""Placement of a predictor's modules after set-up, by accelerate, where the agent's plan has room for them."""

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import UnusablePredictor, describe_error
from . import allocator
from .memory_limits import MemoryLimits, bytes_in_use, storage_bytes, subtract
from .parking import release_memory
from .torch_modules import (
    Device,
    Module,
    devices_of,
    find_modules,
    format_devices,
    imported_torch,
    is_offloaded,
    outermost,
    tensors_of,
)

_PLACEMENTS: Final = ("auto", "manual")
_WEIGHTS_FRACTION: Final = 0.9
"""How much of a GPU's memory weights may take; the rest is for what is computed with them."""


class PlacementFailed(UnusablePredictor):
    """A module cannot be placed within the memory limits."""

    stage = "setup"


def place_modules(predictor: object, limits: MemoryLimits, log: Callable[[str], None]) -> dict[str, Module]:
    """Place the predictor's modules within the limits and return those that may be parked later.

    Raises `PlacementFailed`.
    """
    manual = _is_manual(predictor)
    if limits and not manual:
        _dispatch(predictor, limits, log)
    modules = outermost(find_modules(predictor))
    if limits and imported_torch():
        release_memory()
        if not any(is_offloaded(module) for module in modules.values()):
            allocator.keep_large_blocks()
    return {} if manual else modules


def _is_manual(predictor: object) -> bool:
    """Return whether the class has `placement = "manual"`: then none of its modules is ever moved."""
    choice = getattr(type(predictor), "placement", "auto")
    if isinstance(choice, str) and choice not in _PLACEMENTS:
        raise PlacementFailed(
            f'class {type(predictor).__name__}: placement is {choice!r}, and can be "auto" or "manual"'
        )
    return choice == "manual"


def _dispatch(predictor: object, limits: MemoryLimits, log: Callable[[str], None]) -> None:
    """Move each module to the first device that has room for all of it, or else spread it over several.

    Later modules get what earlier ones left. On a CPU alone nothing moves as long as all of them fit.
    """
    movable = {name: module for name, module in outermost(find_modules(predictor)).items() if is_movable(module)}
    if not movable:
        return
    used = bytes_in_use()
    used["cpu"] -= storage_bytes(tensor for module in movable.values() for tensor in tensors_of(module))["cpu"]
    remaining = subtract(limits.by_device(), used)
    for name, module in movable.items():
        size = storage_bytes(tensors_of(module))["cpu"]
        target = first_fit(size, remaining)
        if target == "cpu":
            remaining = subtract(remaining, {"cpu": size})
        elif importlib.util.find_spec("accelerate") is None:
            log(f"{name} stays on the CPU: accelerate is not installed in this model's environment\n")
            remaining = subtract(remaining, {"cpu": size})
        else:
            remaining = subtract(remaining, _place(name, module, target, remaining, limits, predictor))
            log(f"{name} is on {format_devices(devices_of(module))} now\n")


def is_movable(module: Module) -> bool:
    """Return whether all of it is on the CPU, nobody has placed it, and it can be moved."""
    torch: Any = sys.modules["torch"]
    devices = {tensor.device.type for tensor in tensors_of(module)}
    if devices != {"cpu"} or hasattr(module, "hf_device_map") or isinstance(module, torch.jit.ScriptModule):
        return False
    return not any(hasattr(part, "_hf_hook") or _is_fixed(part) for part in module.modules())


def _is_fixed(part: Module) -> bool:
    """Return whether it is quantized for CPUs, or compiled: its weights are no parameters, or bound to a device."""
    return str(type(part).__module__).startswith(("torch.ao.", "torch._dynamo."))


def first_fit(size: int, remaining: Mapping[Device, int]) -> Device | None:
    """Return the first device with room for `size` bytes. The CPU counts only where there is nothing else."""
    gpus = [device for device in remaining if isinstance(device, int)]
    if not gpus:
        return "cpu" if size <= remaining.get("cpu", size) else None
    return next((device for device in gpus if size <= remaining[device] * _WEIGHTS_FRACTION), None)


def _place(
    name: str,
    module: Module,
    target: Device | None,
    remaining: Mapping[Device, int],
    limits: MemoryLimits,
    predictor: object,
) -> Counter[Device]:
    """Move one module to `target`, or spread it if that is None. Return the bytes it takes now, by device."""
    accelerate: Any = importlib.import_module("accelerate")
    bytes_of: dict[str, int] = accelerate.utils.compute_module_sizes(module)
    try:
        device_map = {"": target} if target is not None else _infer_device_map(accelerate, module, remaining)
        _apply_device_map(accelerate, module, device_map, limits.new_offload_folder())
    except Exception as error:
        tried = format_devices([target] if target is not None else [*remaining, "disk"])
        raise PlacementFailed(
            f"{name}: it holds {bytes_of[''] / 1e6:.0f} MB, and accelerate could not place it on {tried}: "
            f'{describe_error(error)}; write `placement = "manual"` in class {type(predictor).__name__} and place '
            "it in setup"
        ) from error
    return bytes_by_device(device_map, bytes_of)


def _apply_device_map(accelerate: Any, module: Module, device_map: dict[str, Device], folder: str | None) -> None:
    """Move the module's parts, and hook them.

    The hooks bring inputs to the device, and outputs back to where the inputs were: callers notice nothing.
    """
    skip_keys = getattr(module, "_skip_keys_device_placement", None)
    if isinstance(device := device_map.get(""), int):
        _move_to_device(accelerate, module, device, skip_keys)
    elif device == "disk" and folder is not None:  # dispatch_model would write nothing, and then miss it
        accelerate.disk_offload(module, folder, execution_device="cpu")
    else:
        accelerate.dispatch_model(module, device_map, offload_dir=folder, skip_keys=skip_keys)
    module.hf_device_map = device_map


def _move_to_device(accelerate: Any, module: Module, device: Device, skip_keys: Any) -> None:
    """Move all of a module to one device.

    `dispatch_model` would do the same, but hooks every single layer: that costs milliseconds at each run.
    """
    module.to(device)
    for entry in entry_modules(module):
        hook = accelerate.hooks.AlignDevicesHook(device, io_same_device=True, skip_keys=skip_keys)
        accelerate.hooks.add_hook_to_module(entry, hook)


def entry_modules(module: Module) -> list[Module]:
    """Return where callers pass in values of theirs: the module, and parts, two levels deep, that have parts."""
    entries, level = [module], [module]
    for _ in range(2):
        level = [part for outer in level for part in outer.children() if any(part.children())]
        entries += level
    return entries


def _infer_device_map(accelerate: Any, module: Module, remaining: Mapping[Device, int]) -> dict[str, Device]:
    max_memory = {
        device: int(n * _WEIGHTS_FRACTION) if isinstance(device, int) else n for device, n in remaining.items()
    }
    unsplittable = unsplittable_classes(module)
    return accelerate.infer_auto_device_map(module, max_memory=max_memory, no_split_module_classes=unsplittable)


def unsplittable_classes(module: Module) -> list[str]:
    """Return the classes that are never split: what the model says, else its blocks, and what has weights beside parts.

    Values pass a block's parts by ways that no hook sees, and hooks fetch the weights of modules, not single ones.
    """
    if declared := getattr(module, "_no_split_modules", None):
        return sorted(declared)
    torch: Any = sys.modules["torch"]
    containers = (torch.nn.ModuleList, torch.nn.Sequential)
    kinds: set[str] = set()
    for part in module.modules():
        if isinstance(part, containers):
            kinds |= {type(block).__name__ for block in part if not isinstance(block, containers)}
        if part is not module and any(part.children()) and any(part.parameters(recurse=False)):
            kinds.add(type(part).__name__)
    return sorted(kinds)


def bytes_by_device(device_map: Mapping[str, Device], bytes_of: Mapping[str, int]) -> Counter[Device]:
    """Return how many bytes a device map takes of each device, given the sizes of the modules that it names."""
    total: Counter[Device] = Counter()
    for name, device in device_map.items():
        total[device] += bytes_of[name]
    return total
