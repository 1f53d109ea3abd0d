"""A network in ncnn's two files, a graph in words and its weights in bytes, becomes a module of torch.

It knows the layers that the small nets of Real-ESRGAN are made of, and refuses others by name.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MAGIC = "7767517"  # the graph's first line
HALF = 0x01306B47  # before weights of 16 bits
SINGLE = (0, 0x0002C056)  # before weights of 32 bits
INTERPOLATIONS = {"1": "nearest", "2": "bilinear", "3": "bicubic"}


@dataclass(frozen=True)
class Layer:
    kind: str
    takes: list[str]
    gives: list[str]
    settings: dict[str, str]
    """By ncnn's numbers, which mean something else for each kind."""

    def number(self, key: str, default: int = 0) -> int:
        return int(self.settings.get(key, default))


class Net(nn.Module):
    """What it is given is called `data`, what it answers `output`."""

    def __init__(self, graph: Path, weights: Path):
        super().__init__()
        self.layers = list(layers(graph.read_text()))
        bytes_ = Weights(weights.read_bytes())
        self.parts = nn.ModuleList(part(layer, bytes_) for layer in self.layers)
        bytes_.end()
        self.last_use = {name: number for number, layer in enumerate(self.layers) for name in layer.takes}

    def forward(self, data: Tensor) -> Tensor:
        held: dict[str, Tensor] = {"data": data}
        for number, (layer, part) in enumerate(zip(self.layers, self.parts, strict=True)):
            taken = [held[name] for name in layer.takes]
            for name in layer.takes:
                if self.last_use[name] == number:
                    del held[name]
            made: Tensor = part(*taken)
            for name in layer.gives:
                held[name] = made
        return held["output"]


def layers(graph: str) -> Iterator[Layer]:
    """Each line is: kind, name, how many it takes and gives, their names, and settings as key=value."""
    magic, _, *lines = graph.splitlines()
    if magic != MAGIC:
        raise ValueError(f"not a graph of ncnn: it begins with {magic!r}, not {MAGIC}")
    for line in lines:
        kind, _, taken, given, *rest = line.split()
        names, settings = rest[: int(taken) + int(given)], rest[int(taken) + int(given) :]
        if kind != "Input":
            pairs = (setting.split("=", 1) for setting in settings)
            yield Layer(kind, names[: int(taken)], names[int(taken) :], dict(pairs))


def part(layer: Layer, weights: "Weights") -> nn.Module:
    match layer.kind:
        case "Split":
            return nn.Identity()
        case "Convolution":
            return convolution(layer, weights)
        case "PReLU":
            slopes = layer.number("0")
            module = nn.PReLU(slopes)
            module.weight = parameter(weights.plain(slopes))
            return module
        case "PixelShuffle":
            return nn.PixelShuffle(layer.number("0"))
        case "Interp":
            return Interpolate(float(layer.settings["1"]), INTERPOLATIONS[layer.settings["0"]])
        case "BinaryOp" if layer.number("0") == 0 and len(layer.takes) == 2:
            return Add()
        case _:
            raise ValueError(f"ncnn's {layer.kind} with {layer.settings} is not known here")


def convolution(layer: Layer, weights: "Weights") -> nn.Module:
    out, side, count = layer.number("0"), layer.number("1"), layer.number("6")
    module = nn.Conv2d(count // (out * side * side), out, side, padding=layer.number("4"), bias=layer.number("5") == 1)
    module.weight = parameter(weights.flagged(count).reshape(module.weight.shape))
    if module.bias is not None:
        module.bias = parameter(weights.plain(out))
    return module


def parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


class Interpolate(nn.Module):
    def __init__(self, factor: float, mode: str):
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, data: Tensor) -> Tensor:
        return functional.interpolate(data, scale_factor=self.factor, mode=self.mode)


class Add(nn.Module):
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other


class Weights:
    """Read in the graph's order."""

    def __init__(self, content: bytes):
        self.content = content
        self.place = 0

    def flagged(self, count: int) -> Tensor:
        """After a word that says how they are kept."""
        (flag,) = struct.unpack_from("<I", self.content, self.place)
        self.place += 4
        if flag == HALF:
            return self.take("<f2", count, (2 * count + 3) // 4 * 4)  # filled up to whole words
        if flag not in SINGLE:
            raise ValueError(f"ncnn's weights of kind {flag:#x} are not known here")
        return self.plain(count)

    def plain(self, count: int) -> Tensor:
        return self.take("<f4", count, 4 * count)

    def take(self, kind: str, count: int, size: int) -> Tensor:
        values = np.frombuffer(self.content, kind, count, self.place)
        self.place += size
        return torch.from_numpy(values.astype(np.float32))

    def end(self) -> None:
        if self.place != len(self.content):
            raise ValueError(f"{len(self.content) - self.place} bytes of weights are left over: another graph's")
