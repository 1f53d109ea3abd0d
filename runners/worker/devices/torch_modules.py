"""The torch modules that a predictor holds after its set-up, and where they are."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

Device = int | str
"""As accelerate names them: 0, 1, ..., `cpu`, `disk`."""

Module = Any
"""A `torch.nn.Module`: torch is the predictor's, and not ours to import."""


def imported() -> Any:
    """Torch, if the predictor has imported it, and all of it; else None."""
    torch: Any = sys.modules.get("torch")
    return torch if hasattr(torch, "nn") and hasattr(torch, "cuda") else None


def found(predictor: object) -> dict[str, Module]:
    """By the attribute that holds each: also one level deep in its lists and dicts, and in its pipelines."""
    torch = imported()
    if torch is None or not hasattr(predictor, "__dict__"):
        return {}
    return {
        name: module
        for attribute, value in list(vars(predictor).items())
        for name, module in _within(attribute, value)
        if isinstance(module, torch.nn.Module)
    }


def placed(predictor: object) -> dict[str, str]:
    """Where each is, in words."""
    return {name: words(devices(module)) for name, module in found(predictor).items()}


def _within(name: str, value: object) -> Iterator[tuple[str, object]]:
    yield from _shown(name, value)
    for key, inner in _items(value):
        yield from _shown(f"{name}[{key!r}]", inner)


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).items()
    return enumerate(cast("list[object]", value)) if isinstance(value, list | tuple) else ()


def _shown(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Itself, or what it shows as a pipeline of diffusers or transformers does."""
    yield name, value
    torch: Any = sys.modules["torch"]
    if isinstance(value, torch.nn.Module | type):
        return
    if isinstance(components := _asked(value, "components"), dict):
        for key, inner in cast("dict[str, object]", components).items():
            yield f"{name}.{key}", inner
    else:
        yield f"{name}.model", _asked(value, "model")


def _asked(value: object, attribute: str) -> object:
    """Only of what has it: some objects make up whatever they are asked for."""
    missing = object()
    if inspect.getattr_static(value, attribute, missing) is missing:
        return None
    try:
        return getattr(value, attribute)
    except Exception:  # noqa: BLE001  a property that does not hold yet
        return None


def outermost(modules: Mapping[str, Module]) -> dict[str, Module]:
    """Each once, and none that is a part of another."""
    seen = {id(part) for module in modules.values() for part in module.modules() if part is not module}
    result: dict[str, Module] = {}
    for name, module in modules.items():
        if id(module) not in seen:
            seen.add(id(module))
            result[name] = module
    return result


def tensors(module: Module) -> list[Any]:
    return [*module.parameters(), *module.buffers()]


def devices(module: Module) -> list[Device]:
    """Where its weights are now; those that accelerate fetches when they are needed, where it has them."""
    now = {named(tensor.device) for tensor in tensors(module)}
    if "meta" in now:
        mapped = {named(device) for device in getattr(module, "hf_device_map", {}).values()}
        now = (now - {"meta"} | (mapped & {"cpu", "disk"})) if mapped & {"cpu", "disk"} else now
    return sorted(now, key=lambda device: (_ORDER.index(device) if device in _ORDER else -1, str(device)))


_ORDER = ("cpu", "disk", "meta")


def words(devices: Iterable[Device]) -> str:
    return " + ".join(f"cuda:{device}" if isinstance(device, int) else device for device in devices) or "nowhere"


def fetched(module: Module) -> bool:
    """Some of its weights are elsewhere until they are needed."""
    return any(tensor.device.type == "meta" for tensor in module.parameters())


def spread(module: Module) -> bool:
    """Its parts compute on several devices, and hooks carry values between them."""
    return len(set(map(named, getattr(module, "hf_device_map", {}).values()))) > 1


def named(device: Any) -> Device:
    """Given as a device map has it, or as torch: 0, `cuda:0`, `disk`, a `torch.device`."""
    if isinstance(device, int):
        return device
    kind, _, index = str(device).partition(":")
    return int(index or 0) if kind == "cuda" else kind
