"""Text in pictures, read by the real weights."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.runners.models.files import picture_uri, uri
from tests.runners.models.loading import LOADING, load_worker
from tests.runners.worker.driver import Worker, output

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LOADING)]

BILL = {
    (20, 20): "INVOICE 4711",
    (20, 90): "Two cups of tea",
    (480, 92): "5.80",
    (20, 150): "Total",
    (480, 150): "5.80",
}


@pytest.fixture(scope="module")
def ocr() -> Generator[Worker]:
    yield from load_worker("ocr")


def written(mode: str = "RGB", colour: Any = "black", ground: Any = "white") -> Any:
    paper = Image.new(mode, (640, 220), ground)
    for place, text in BILL.items():
        ImageDraw.Draw(paper).text(place, text, colour, font_size=28)
    return paper


def test_a_bill_is_read_line_by_line(ocr: Worker):
    ocr.run({"image": picture_uri(written())}, ids="a")
    read = output(ocr.done("a"))
    assert read["text"] == "INVOICE 4711\nTwo cups of tea 5.80\nTotal 5.80"
    assert [part["text"] for part in read["boxes"]] == list(BILL.values())
    assert all(0.8 < part["score"] <= 1 for part in read["boxes"])
    assert ocr.log_of("a").splitlines() == ["reading a picture of 640 x 220", "found 5 parts in 3 lines"]


def test_a_box_is_where_the_text_stands(ocr: Worker):
    ocr.run({"image": picture_uri(written())}, ids="b")
    for (left, top), part in zip(BILL, output(ocr.done("b"))["boxes"], strict=True):
        assert len(part["box"]) == 4
        assert part["box"][0] == pytest.approx([left, top + 4], abs=8)


def test_text_on_what_can_be_seen_through_is_read_as_on_white(ocr: Worker):
    ocr.run({"image": picture_uri(written("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)))}, ids="c")
    assert output(ocr.done("c"))["text"].startswith("INVOICE 4711\n")


def test_white_text_on_black_is_read(ocr: Worker):
    ocr.run({"image": picture_uri(written("L", 255, 0))}, ids="d")
    assert output(ocr.done("d"))["text"].startswith("INVOICE 4711\n")


def test_a_picture_without_text_is_no_text(ocr: Worker):
    ocr.run({"image": picture_uri(Image.new("RGB", (100, 100)))}, ids="e")
    assert output(ocr.done("e")) == {"text": "", "boxes": []}


def test_the_library_says_nothing_of_its_own(ocr: Worker):
    assert ocr.setup_log() == ""


@pytest.mark.parametrize(
    ("id", "image", "words"),
    [
        pytest.param("g", uri(b"hello", "image/png"), "image: not a picture that can be read", id="no picture"),
        pytest.param("h", picture_uri(Image.new("L", (7, 90))), "image: 7 x 90 is too small", id="small"),
        pytest.param("i", picture_uri(Image.new("1", (8_000, 7_000))), "image: 8000 x 7000 is too large", id="large"),
    ],
)
def test_what_cannot_be_read_is_refused(ocr: Worker, id: str, image: str, words: str):
    ocr.run({"image": image}, ids=id)
    assert (ocr.done(id).error or "").startswith(words)
