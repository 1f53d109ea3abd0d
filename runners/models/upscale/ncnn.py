"""A network from ncnn's two files, a graph as text and its weights as bytes, as a module of torch.

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
FLOAT16_FLAG = 0x01306B47  # before weights of 16 bits
FLOAT32_FLAGS = (0, 0x0002C056)  # before weights of 32 bits
INTERPOLATIONS = {"1": "nearest", "2": "bilinear", "3": "bicubic"}


@dataclass(frozen=True)
class Layer:
    """A layer of the graph, and the names of its inputs and outputs."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[str, str]
    """The settings by ncnn's numbers, which mean something else for each kind."""

    def number(self, key: str, default: int = 0) -> int:
        """Return a setting as a number."""
        return int(self.settings.get(key, default))


class Net(nn.Module):
    """The network. Its input is called `data` in the graph, its output `output`."""

    def __init__(self, graph: Path, weights: Path):
        super().__init__()
        self.layers = list(parse_layers(graph.read_text()))
        bytes_ = Weights(weights.read_bytes())
        self.parts = nn.ModuleList(build_layer(layer, bytes_) for layer in self.layers)
        bytes_.check_end()
        self.last_use = {name: number for number, layer in enumerate(self.layers) for name in layer.inputs}

    def forward(self, data: Tensor) -> Tensor:
        """Run all layers. A value is let go after its last use."""
        values: dict[str, Tensor] = {"data": data}
        for number, (layer, part) in enumerate(zip(self.layers, self.parts, strict=True)):
            inputs = [values[name] for name in layer.inputs]
            for name in layer.inputs:
                if self.last_use[name] == number:
                    del values[name]
            result: Tensor = part(*inputs)
            for name in layer.outputs:
                values[name] = result
        return values["output"]


def parse_layers(graph: str) -> Iterator[Layer]:
    """Yield the layers. A line is: kind, name, numbers of inputs and outputs, their names, settings as key=value."""
    magic, _, *lines = graph.splitlines()
    if magic != MAGIC:
        raise ValueError(f"not a graph of ncnn: it begins with {magic!r}, not {MAGIC}")
    for line in lines:
        kind, _, inputs, outputs, *rest = line.split()
        names, settings = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
        if kind != "Input":
            pairs = (setting.split("=", 1) for setting in settings)
            yield Layer(kind, names[: int(inputs)], names[int(inputs) :], dict(pairs))


def build_layer(layer: Layer, weights: "Weights") -> nn.Module:
    """Return the module of a layer. Raises `ValueError` for a kind that is not known."""
    match layer.kind:
        case "Split":
            return nn.Identity()
        case "Convolution":
            return convolution(layer, weights)
        case "PReLU":
            slopes = layer.number("0")
            module = nn.PReLU(slopes)
            module.weight = parameter(weights.read_floats(slopes))
            return module
        case "PixelShuffle":
            return nn.PixelShuffle(layer.number("0"))
        case "Interp":
            return Interpolate(float(layer.settings["1"]), INTERPOLATIONS[layer.settings["0"]])
        case "BinaryOp" if layer.number("0") == 0 and len(layer.inputs) == 2:
            return Add()
        case _:
            raise ValueError(f"ncnn's {layer.kind} with {layer.settings} is not known here")


def convolution(layer: Layer, weights: "Weights") -> nn.Module:
    """Return a convolution with its weights."""
    out, side, count = layer.number("0"), layer.number("1"), layer.number("6")
    module = nn.Conv2d(count // (out * side * side), out, side, padding=layer.number("4"), bias=layer.number("5") == 1)
    module.weight = parameter(weights.read_flagged(count).reshape(module.weight.shape))
    if module.bias is not None:
        module.bias = parameter(weights.read_floats(out))
    return module


def parameter(values: Tensor) -> nn.Parameter:
    """Return a parameter that is not trained."""
    return nn.Parameter(values, requires_grad=False)


class Interpolate(nn.Module):
    """Scaling by a factor."""

    def __init__(self, factor: float, mode: str):
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, data: Tensor) -> Tensor:
        """Scale the data."""
        return functional.interpolate(data, scale_factor=self.factor, mode=self.mode)


class Add(nn.Module):
    """The sum of two values."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Add two values."""
        return one + other


class Weights:
    """The bytes of the weights, read in the graph's order."""

    def __init__(self, content: bytes):
        self.content = content
        self.offset = 0

    def read_flagged(self, count: int) -> Tensor:
        """Read weights after a word that says how they are stored."""
        (flag,) = struct.unpack_from("<I", self.content, self.offset)
        self.offset += 4
        if flag == FLOAT16_FLAG:
            return self.read("<f2", count, (2 * count + 3) // 4 * 4)  # filled up to whole words
        if flag not in FLOAT32_FLAGS:
            raise ValueError(f"ncnn's weights of kind {flag:#x} are not known here")
        return self.read_floats(count)

    def read_floats(self, count: int) -> Tensor:
        """Read weights of 32 bits."""
        return self.read("<f4", count, 4 * count)

    def read(self, kind: str, count: int, size: int) -> Tensor:
        """Read weights of a type that take `size` bytes."""
        values = np.frombuffer(self.content, kind, count, self.offset)
        self.offset += size
        return torch.from_numpy(values.astype(np.float32))

    def check_end(self) -> None:
        """Raise `ValueError` if bytes are left."""
        if self.offset != len(self.content):
            raise ValueError(f"{len(self.content) - self.offset} bytes of weights are left over: another graph's")
