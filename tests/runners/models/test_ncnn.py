"""A network in ncnn's files, read anew: small ones that are written here."""

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.runners.models.loading import module

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

ncnn = module("upscale", "ncnn")

GRAPH = """7767517
6 7
Input       in    0 1 data
Split       split 1 2 data a b
Convolution conv  1 1 a c 0=4 1=3 4=1 5=1 6=36
PReLU       relu  1 1 c d 0=4
PixelShuffle up   1 1 d e 0=2
Interp      big   1 1 b f 0=1 1=2.000000e+00 2=2.000000e+00
BinaryOp    sum   2 1 e f output
"""
RANDOM = np.random.default_rng(0)
KERNEL, BIAS, SLOPES = RANDOM.normal(size=(4, 1, 3, 3)), RANDOM.normal(size=4), RANDOM.normal(size=4)
HALF = struct.pack("<I", 0x01306B47) + KERNEL.astype("<f2").tobytes()
SINGLE = struct.pack("<I", 0) + KERNEL.astype("<f4").tobytes()
REST = BIAS.astype("<f4").tobytes() + SLOPES.astype("<f4").tobytes()


def net(folder: Path, graph: str = GRAPH, weights: bytes = SINGLE + REST) -> Any:
    (folder / "net.param").write_text(graph)
    (folder / "net.bin").write_bytes(weights)
    return ncnn.Net(folder / "net.param", folder / "net.bin").eval()


@pytest.mark.parametrize(
    ("kernel", "off"), [pytest.param(SINGLE, 1e-5, id="32 bits"), pytest.param(HALF, 1e-2, id="16 bits")]
)
def test_a_net_computes_what_its_graph_says(tmp_path: Path, kernel: bytes, off: float):
    data = torch.rand(1, 1, 5, 7)
    made = torch.nn.functional.conv2d(data, torch.tensor(KERNEL).float(), torch.tensor(BIAS).float(), padding=1)
    made = torch.nn.functional.prelu(made, torch.tensor(SLOPES).float())
    wanted = torch.nn.functional.pixel_shuffle(made, 2) + data.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.inference_mode():
        assert torch.allclose(net(tmp_path, weights=kernel + REST)(data), wanted, atol=off)


@pytest.mark.parametrize(
    ("graph", "weights", "words"),
    [
        pytest.param("1\n1 1\n", b"", "not a graph of ncnn: it begins with '1'", id="another file"),
        pytest.param(GRAPH.replace("PixelShuffle", "Whatever"), SINGLE + REST, "ncnn's Whatever with", id="a layer"),
        pytest.param(GRAPH.replace("e f output", "e f output 0=2"), SINGLE + REST, "ncnn's BinaryOp", id="a product"),
        pytest.param(GRAPH, struct.pack("<I", 7) + SINGLE, "weights of kind 0x7 are not known", id="weights' kind"),
        pytest.param(GRAPH, SINGLE + REST + bytes(8), "8 bytes of weights are left over", id="weights left over"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, graph: str, weights: bytes, words: str):
    with pytest.raises(ValueError, match=words):
        net(tmp_path, graph, weights)
