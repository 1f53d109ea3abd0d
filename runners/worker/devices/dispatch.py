"""What a set-up left on the CPU goes where the agent's plan has room for it, by accelerate."""

import importlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..predictor.loader import describe
from ..predictor.signature import Unusable
from . import allocator
from .memory_limits import Share, held, rest, sizes
from .parking import give_back
from .torch_modules import Device, Module, devices, fetched, found, imported, outermost, tensors, words

_CHOICES: Final = ("auto", "manual")
_FOR_WEIGHTS: Final = 0.9
"""Of a GPU's memory; the rest is for what is computed with them."""


class Misplaced(Unusable):
    """A model cannot be where the plan wants it."""

    stage = "setup"


def settled(predictor: object, share: Share, say: Callable[[str], None]) -> dict[str, Module]:
    """The modules that may be moved from now on, where the plan wants them."""
    manual = _manual(predictor)
    if share and not manual:
        _dispatch(predictor, share, say)
    modules = outermost(found(predictor))
    if share and imported():
        give_back()
        if not any(fetched(module) for module in modules.values()):
            allocator.keep_large()
    return {} if manual else modules


def _manual(predictor: object) -> bool:
    """It says `placement = "manual"`: nothing of it is moved, ever."""
    choice = getattr(type(predictor), "placement", "auto")
    if isinstance(choice, str) and choice not in _CHOICES:
        raise Misplaced(f'class {type(predictor).__name__}: placement is {choice!r}, and can be "auto" or "manual"')
    return choice == "manual"


def _dispatch(predictor: object, share: Share, say: Callable[[str], None]) -> None:
    """Each module goes to the first device that has room for all of it, else it is spread; later ones get what is left.

    On a CPU alone nothing moves as long as all of them fit.
    """
    waiting = {name: module for name, module in outermost(found(predictor)).items() if idle(module)}
    if not waiting:
        return
    taken = held()
    taken["cpu"] -= sizes(tensor for module in waiting.values() for tensor in tensors(module))["cpu"]
    left = rest(share.most(), taken)
    for name, module in waiting.items():
        size = sizes(tensors(module))["cpu"]
        target = roomy(size, left)
        if target == "cpu":
            left = rest(left, {"cpu": size})
        elif importlib.util.find_spec("accelerate") is None:
            say(f"{name} stays on the CPU: accelerate is not installed in this model's environment\n")
            left = rest(left, {"cpu": size})
        else:
            left = rest(left, _dispatched(name, module, target, left, share, predictor))
            say(f"{name} is on {words(devices(module))} now\n")


def idle(module: Module) -> bool:
    """All of it is on the CPU, nobody has placed it, and it can be moved."""
    torch: Any = sys.modules["torch"]
    where = {tensor.device.type for tensor in tensors(module)}
    if where != {"cpu"} or hasattr(module, "hf_device_map") or isinstance(module, torch.jit.ScriptModule):
        return False
    return not any(hasattr(part, "_hf_hook") or _fixed(part) for part in module.modules())


def _fixed(part: Module) -> bool:
    """Quantized for CPUs, or compiled: its weights are no parameters, or its code has seen where they are."""
    return str(type(part).__module__).startswith(("torch.ao.", "torch._dynamo."))


def roomy(size: int, left: Mapping[Device, int]) -> Device | None:
    """The first device that holds all of it. A CPU counts only where there is nothing else."""
    gpus = [device for device in left if isinstance(device, int)]
    if not gpus:
        return "cpu" if size <= left.get("cpu", size) else None
    return next((device for device in gpus if size <= left[device] * _FOR_WEIGHTS), None)


def _dispatched(
    name: str,
    module: Module,
    target: Device | None,
    left: Mapping[Device, int],
    share: Share,
    predictor: object,
) -> Counter[Device]:
    """What it takes now, by device."""
    accelerate: Any = importlib.import_module("accelerate")
    bytes_of: dict[str, int] = accelerate.utils.compute_module_sizes(module)
    try:
        where = {"": target} if target is not None else _spread(accelerate, module, left)
        _carry_out(accelerate, module, where, share.folder())
    except Exception as error:
        tried = words([target]) if target is not None else " + ".join(words([device]) for device in [*left, "disk"])
        raise Misplaced(
            f"{name}: it holds {bytes_of[''] / 1e6:.0f} MB, and accelerate could not place it on {tried}: "
            f'{describe(error)}; say `placement = "manual"` in class {type(predictor).__name__} and place it in setup'
        ) from error
    return used(where, bytes_of)


def _carry_out(accelerate: Any, module: Module, where: dict[str, Device], folder: str | None) -> None:
    """Its hooks bring inputs to the device, and outputs back to where the inputs were: callers notice nothing."""
    carried = getattr(module, "_skip_keys_device_placement", None)
    if isinstance(device := where.get(""), int):
        _on_one(accelerate, module, device, carried)
    elif device == "disk" and folder is not None:  # dispatch_model would write nothing, and then miss it
        accelerate.disk_offload(module, folder, execution_device="cpu")
    else:
        accelerate.dispatch_model(module, where, offload_dir=folder, skip_keys=carried)
    module.hf_device_map = where


def _on_one(accelerate: Any, module: Module, device: Device, carried: Any) -> None:
    """As dispatch_model would do it, which hooks every single layer: that costs milliseconds at each run."""
    module.to(device)
    for door in doors(module):
        hook = accelerate.hooks.AlignDevicesHook(device, io_same_device=True, skip_keys=carried)
        accelerate.hooks.add_hook_to_module(door, hook)


def doors(module: Module) -> list[Module]:
    """Where callers come in with values of theirs: itself, and its parts, two levels deep, that have parts."""
    found, level = [module], [module]
    for _ in range(2):
        level = [part for outer in level for part in outer.children() if any(part.children())]
        found += level
    return found


def _spread(accelerate: Any, module: Module, left: Mapping[Device, int]) -> dict[str, Device]:
    most = {device: int(n * _FOR_WEIGHTS) if isinstance(device, int) else n for device, n in left.items()}
    return accelerate.infer_auto_device_map(module, max_memory=most, no_split_module_classes=whole(module))


def whole(module: Module) -> list[str]:
    """Classes that are never split: what the model says, else its blocks, and what has weights beside its parts.

    Values pass a block's parts by ways that no hook sees, and hooks fetch the weights of modules, not single ones.
    """
    if said := getattr(module, "_no_split_modules", None):
        return sorted(said)
    torch: Any = sys.modules["torch"]
    rows = (torch.nn.ModuleList, torch.nn.Sequential)
    kinds: set[str] = set()
    for part in module.modules():
        if isinstance(part, rows):
            kinds |= {type(block).__name__ for block in part if not isinstance(block, rows)}
        if part is not module and any(part.children()) and any(part.parameters(recurse=False)):
            kinds.add(type(part).__name__)
    return sorted(kinds)


def used(where: Mapping[str, Device], bytes_of: Mapping[str, int]) -> Counter[Device]:
    """What a device map takes of each device, given the sizes of the modules that it names."""
    total: Counter[Device] = Counter()
    for name, device in where.items():
        total[device] += bytes_of[name]
    return total
