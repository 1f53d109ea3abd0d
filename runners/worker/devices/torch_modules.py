"""The torch modules that a predictor holds after its set-up, and the devices they are on."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

Device = int | str
"""A device as accelerate names it: 0, 1, ..., `cpu`, `disk`."""

Module = Any
"""A `torch.nn.Module`: torch is the predictor's, and not ours to import."""

_LAST_DEVICES: Final = ("cpu", "disk", "meta")


def imported_torch() -> Any:
    """Return torch if the predictor has imported it completely, else None."""
    torch: Any = sys.modules.get("torch")
    return torch if hasattr(torch, "nn") and hasattr(torch, "cuda") else None


def find_modules(predictor: object) -> dict[str, Module]:
    """Return the predictor's modules by the attribute that holds each.

    It looks one level deep into lists and dicts too, and into pipelines.
    """
    torch = imported_torch()
    if torch is None or not hasattr(predictor, "__dict__"):
        return {}
    return {
        name: module
        for attribute, value in list(vars(predictor).items())
        for name, module in _candidates(attribute, value)
        if isinstance(module, torch.nn.Module)
    }


def describe_modules(predictor: object) -> dict[str, str]:
    """Return the names of the predictor's modules, and the devices of each as text."""
    return {name: format_devices(devices_of(module)) for name, module in find_modules(predictor).items()}


def _candidates(name: str, value: object) -> Iterator[tuple[str, object]]:
    yield from _with_components(name, value)
    for key, inner in _items(value):
        yield from _with_components(f"{name}[{key!r}]", inner)


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).items()
    return enumerate(cast("list[object]", value)) if isinstance(value, list | tuple) else ()


def _with_components(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the value, and its components if it is a pipeline as diffusers or transformers has them."""
    yield name, value
    torch: Any = sys.modules["torch"]
    if isinstance(value, torch.nn.Module | type):
        return
    if isinstance(components := _read_attribute(value, "components"), dict):
        for key, inner in cast("dict[str, object]", components).items():
            yield f"{name}.{key}", inner
    else:
        yield f"{name}.model", _read_attribute(value, "model")


def _read_attribute(value: object, attribute: str) -> object:
    """Return an attribute that really exists, else None: some objects make up whatever they are asked for."""
    missing = object()
    if inspect.getattr_static(value, attribute, missing) is missing:
        return None
    try:
        return getattr(value, attribute)
    except Exception:  # noqa: BLE001  a property that does not hold yet
        return None


def outermost(modules: Mapping[str, Module]) -> dict[str, Module]:
    """Return each module once, without those that are part of another."""
    seen = {id(part) for module in modules.values() for part in module.modules() if part is not module}
    result: dict[str, Module] = {}
    for name, module in modules.items():
        if id(module) not in seen:
            seen.add(id(module))
            result[name] = module
    return result


def tensors_of(module: Module) -> list[Any]:
    """Return the module's parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


def devices_of(module: Module) -> list[Device]:
    """Return the devices of the module's weights; of those that accelerate fetches when needed, where it keeps them."""
    now = {device_name(tensor.device) for tensor in tensors_of(module)}
    if "meta" in now:
        mapped = {device_name(device) for device in getattr(module, "hf_device_map", {}).values()}
        now = (now - {"meta"} | (mapped & {"cpu", "disk"})) if mapped & {"cpu", "disk"} else now
    return sorted(now, key=lambda device: (_LAST_DEVICES.index(device) if device in _LAST_DEVICES else -1, str(device)))


def format_devices(devices: Iterable[Device]) -> str:
    """Return the devices as text, such as `cuda:0 + cpu`."""
    return " + ".join(f"cuda:{device}" if isinstance(device, int) else device for device in devices) or "nowhere"


def is_offloaded(module: Module) -> bool:
    """Return whether some of its weights are elsewhere until they are needed."""
    return any(tensor.device.type == "meta" for tensor in module.parameters())


def is_spread(module: Module) -> bool:
    """Return whether its parts compute on several devices, and hooks carry values between them."""
    return len(set(map(device_name, getattr(module, "hf_device_map", {}).values()))) > 1


def device_name(device: Any) -> Device:
    """Return accelerate's name of a device, given as in a device map or by torch: 0, `cuda:0`, `disk`, a device."""
    if isinstance(device, int):
        return device
    kind, _, index = str(device).partition(":")
    return int(index or 0) if kind == "cuda" else kind
