"""What is in a picture, told by the real weights."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.runners.models.files import PICTURES, picture_uri, uri
from tests.runners.models.loading import LOADING, load_worker
from tests.runners.worker.driver import Worker, output

Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LOADING)]

CAT, COFFEE = (uri((PICTURES / f"{name}.jpg").read_bytes(), "image/jpeg") for name in ("chelsea", "coffee"))


@pytest.fixture(scope="module")
def classify() -> Generator[Worker]:
    yield from load_worker("classify")


def classes(worker: Worker, id: str) -> dict[str, float]:
    return {found["label"]: found["score"] for found in output(worker.done(id))}


def test_a_cat_is_a_cat_and_coffee_is_coffee(classify: Worker):
    classify.run({"image": CAT, "top_k": 3}, ids="a")
    classify.run({"image": COFFEE, "top_k": 1}, ids="b")
    assert set(classes(classify, "a")) == {"tabby, tabby cat", "tiger cat", "Egyptian cat"}
    assert list(classes(classify, "b")) == ["espresso"]


def test_the_likeliest_comes_first(classify: Worker):
    classify.run({"image": CAT, "top_k": 20}, ids="c")
    scores = list(classes(classify, "c").values())
    assert scores == sorted(scores, reverse=True)
    assert (len(scores), sum(scores) <= 1) == (20, True)


def test_a_batch_is_the_same_as_one_by_one(classify: Worker):
    wishes: list[dict[str, Any]] = [
        {"image": CAT, "top_k": 5},
        {"image": COFFEE, "top_k": 2},
        {"image": picture_uri(Image.new("RGBA", (40, 300), (200, 0, 0, 99))), "top_k": 1},
    ]
    classify.run(*wishes, ids="ABC")
    assert classify.started("A").ids == ["A", "B", "C"]
    for wish, id, single in zip(wishes, "ABC", "DEF", strict=True):
        classify.run(wish, ids=single)
        assert classes(classify, id) == pytest.approx(classes(classify, single), abs=1e-4)


def test_a_picture_that_cannot_be_read_fails_alone(classify: Worker):
    classify.run({"image": uri(b"hello", "image/png"), "top_k": 1}, {"image": COFFEE, "top_k": 1}, ids="GH")
    assert "image: not a picture that can be read" in (classify.done("G").error or "")
    assert list(classes(classify, "H")) == ["espresso"]
