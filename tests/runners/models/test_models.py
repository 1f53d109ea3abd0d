"""The bundled models, with their real weights."""

import math
from collections.abc import Generator
from time import monotonic

import pytest

from tests.runners.models.loading import LOADING, load_worker
from tests.runners.worker.driver import Worker, output


@pytest.fixture(scope="module")
def minilm() -> Generator[Worker]:
    yield from load_worker("minilm")


@pytest.fixture(scope="module")
def smollm2() -> Generator[Worker]:
    yield from load_worker("smollm2")


def test_hello_world_says_hello():
    for worker in load_worker("hello-world"):
        worker.run({"text": "Ann"})
        assert output(worker.done()) == "hello Ann"


def test_count_counts():
    for worker in load_worker("count"):
        worker.run({"n": 3})
        worker.run({"n": 0}, ids="b")
        worker.done_all("ab")
        assert (worker.chunks("a"), worker.chunks("b")) == (["0", "1", "2"], [])


TEXTS = ["A cat sits on the mat.", "A kitten is sitting on a rug.", "The stock market fell sharply today."]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_near_meanings_are_near(minilm: Worker):
    minilm.run(*({"text": text} for text in TEXTS), ids="123")
    cat, kitten, market = (output(done) for done in minilm.done_all("123"))
    assert len(cat) == 384
    assert math.isclose(cosine(cat, cat), 1, abs_tol=1e-5)
    assert cosine(cat, kitten) > 0.5 > 0.2 > cosine(cat, market)


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_a_batch_is_the_same_as_one_by_one(minilm: Worker):
    texts = [*TEXTS, "", "long " * 1000]
    minilm.run(*({"text": text} for text in texts), ids="ABCDE")
    for text, id, single in zip(texts, "ABCDE", "FGHIJ", strict=True):
        minilm.run({"text": text}, ids=single)
        together, alone = output(minilm.done(id)), output(minilm.done(single))
        assert max(abs(x - y) for x, y in zip(together, alone, strict=True)) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_a_language_model_knows_paris(smollm2: Worker):
    smollm2.run({"prompt": "What is the capital of France?", "temperature": 0, "max_tokens": 40}, ids="p")
    done = smollm2.done("p")
    pieces = smollm2.chunks("p")
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 3
    assert done.metrics["output_token_count"] <= 40
    assert done.metrics["input_token_count"] > 10
    assert 0 < done.metrics["time_to_first_token"] < done.metrics["predict_time"]
    assert done.metrics["tokens_per_second"] > 0


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_a_seed_decides(smollm2: Worker):
    question = {"prompt": "Tell me a story about a fox.", "temperature": 1.0, "max_tokens": 16}
    for id, seed in zip("stu", (1, 1, 2), strict=True):
        smollm2.run({**question, "seed": seed}, ids=id)
    smollm2.done_all("stu")
    first, same, other = ("".join(smollm2.chunks(id)) for id in "stu")
    assert first == same != other


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_characters_of_several_tokens_stay_whole(smollm2: Worker):
    smollm2.run({"prompt": "Repeat exactly: 🦊 café 日本語", "temperature": 0, "max_tokens": 40}, ids="w")
    smollm2.done("w")
    assert "\ufffd" not in "".join(smollm2.chunks("w"))


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_a_language_model_stops_when_canceled(smollm2: Worker):
    smollm2.run({"prompt": "Write a very long story.", "max_tokens": 2000}, ids="c")
    smollm2.chunk("c")
    asked = monotonic()
    smollm2.stop("c")
    done = smollm2.done("c")
    assert (done.status, monotonic() - asked < 1) == ("stopped", True)
    assert 0 < done.metrics["output_token_count"] < 2000


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_too_long_a_question_is_refused(smollm2: Worker):
    smollm2.run({"prompt": "word " * 9000}, ids="l")
    assert "are more than 8192" in (smollm2.done("l").error or "")
