"""How bundled models open a picture: upright, in colours, or not at all."""

import io
from pathlib import Path
from typing import Any

import pytest

from tests.runners.models.loading import MODELS, module

Image = pytest.importorskip("PIL.Image")

COPIES = sorted(MODELS.glob("*/pictures.py"))
pictures = module(COPIES[0].parent.name, "pictures")


def saved(folder: Path, picture: Any, **options: Any) -> Path:
    file = folder / "x.png"
    picture.save(file, "PNG", **options)
    return file


def opened(path: Path, **options: int) -> Any:
    return pictures.open_picture("image", path, **({"max_pixels": 10_000, "min_side": 4} | options))


def test_the_copies_are_the_same():
    assert len(COPIES) > 1
    assert len({copy.read_text() for copy in COPIES}) == 1


@pytest.mark.parametrize(
    ("mode", "value", "pixel"),
    [
        pytest.param("RGB", (1, 2, 3), (1, 2, 3), id="colours"),
        pytest.param("RGBA", (1, 2, 3, 4), (1, 2, 3, 4), id="colours that can be seen through"),
        pytest.param("LA", (9, 4), (9, 9, 9, 4), id="grey that can be seen through"),
        pytest.param("L", 9, (9, 9, 9), id="grey"),
        pytest.param("1", 1, (255, 255, 255), id="black and white"),
        pytest.param("I;16", 0x4080, (0x40, 0x40, 0x40), id="grey of 16 bits"),
    ],
)
def test_pictures_come_in_colours(tmp_path: Path, mode: str, value: Any, pixel: tuple[int, ...]):
    assert opened(saved(tmp_path, Image.new(mode, (8, 8), value))).getpixel((0, 0)) == pixel


def test_a_camera_that_was_turned_is_turned_back(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(saved(tmp_path, Image.new("RGB", (8, 16)), exif=exif)).size == (16, 8)


def test_a_format_that_can_is_read_smaller(tmp_path: Path):
    Image.new("RGB", (96, 96)).save(tmp_path / "x.jpg")
    assert opened(tmp_path / "x.jpg", target_side=24).size == (24, 24)


def whole() -> bytes:
    made = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"hello", "not a picture that can be read .*: unknown format", id="no picture"),
        pytest.param(whole()[:-40], "not a picture that can be read", id="cut off"),
    ],
)
def test_what_is_no_picture_is_refused_without_naming_a_path(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=f"image: {words}") as caught:
        opened(tmp_path / "x")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        pytest.param((101, 100), "image: 101 x 100 is too large; give it at most 0.01 megapixels", id="large"),
        pytest.param((3, 100), "image: 3 x 100 is too small; each side needs at least 4 pixels", id="small"),
    ],
)
def test_only_some_sizes_are_accepted(tmp_path: Path, size: tuple[int, int], words: str):
    with pytest.raises(ValueError, match=words):
        opened(saved(tmp_path, Image.new("L", size)))
