"""`classify-text`: what it is taught from, and that it learns."""

import base64
from pathlib import Path

import pytest
from msgspec import json

from tests.runners.models.loading import LOADING, MODELS, load_worker, module
from tests.runners.worker.driver import Worker, output

TEXTS = {
    "sport": [
        "The striker scored twice in the final.",
        "She won the marathon in record time.",
        "The coach changed the whole defence at half-time.",
        "A late goal sent the team to the cup final.",
        "He broke the world record in the long jump.",
        "The tennis match went to five sets.",
        "Fans cheered as the home side won the league.",
    ],
    "cooking": [
        "Fry the onions until they are golden.",
        "Add a pinch of salt to the soup.",
        "The dough has to rest for an hour.",
        "Roast the vegetables with olive oil and garlic.",
        "Whisk the eggs with sugar until fluffy.",
        "Simmer the tomato sauce on a low heat.",
        "Bake the bread until the crust is crisp.",
    ],
    "money": [
        "The central bank raised interest rates again.",
        "Shares fell sharply after the report.",
        "The company announced a record profit.",
        "Inflation slowed for the third month.",
        "Investors sold bonds ahead of the vote.",
        "The startup raised ten million in funding.",
        "Unemployment and prices rose last quarter.",
    ],
}
NEW = {
    "The goalkeeper saved a penalty.": "sport",
    "Chop the parsley and stir it into the rice.": "cooking",
    "The stock market closed at a new high.": "money",
}

examples = module("classify-text", "examples")


def csv_of() -> str:
    rows = [f'"{text}",{label}\n' for label, texts in TEXTS.items() for text in texts]
    return "text,label\n" + "".join(rows)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('text,label\n"a, b",x\nc,y\n', id="csv"),
        pytest.param('{"text": "a, b", "label": "x"}\n\n{"text": "c", "label": " y"}', id="json lines"),
        pytest.param('\ufefflabel,text,more\r\nx,"a, b",1\r\ny,c,2\r\n', id="csv as spreadsheets write it"),
    ],
)
def test_examples_are_read(content: str, tmp_path: Path):
    file = tmp_path / "examples"
    file.write_text(content, newline="")
    assert [tuple(each) for each in examples.read(file)] == [("a, b", "x"), ("c", "y")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "0 with fewer than 2", id="nothing"),
        pytest.param(b"text,label\na,x\nb,x\n", "2 with fewer than 2 different labels", id="one label"),
        pytest.param(b"text,label\na,x\nb\n", "line 3 needs a text and a label", id="a short row"),
        pytest.param(b'{"text": "a"}', "line 1 needs a text and a label", id="no label"),
        pytest.param(b'{"text": "a", "label": "x"}\n{"text"', "line 2 is no JSON", id="no json"),
        pytest.param(b"{\xff", "no text in UTF-8", id="no text"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(content: bytes, reason: str, tmp_path: Path):
    file = tmp_path / "examples"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        examples.read(file)


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_untaught_it_says_so():
    for worker in load_worker("classify-text"):
        worker.run({"text": "x"})
        done = worker.done()
        assert done.error is not None
        assert done.error.startswith("this version has learned no labels yet")


@pytest.mark.slow
@pytest.mark.timeout(LOADING)
def test_it_learns_labels_from_examples(tmp_path: Path):
    file = tmp_path / "examples.csv"
    file.write_text(csv_of())
    trainer = Worker(MODELS / "classify-text", "train.py:train", train=True)
    trainer.socket.settimeout(LOADING)
    try:
        trainer.ready()
        trainer.run({"examples": f"data:text/csv;base64,{encoded(file)}"})
        done = trainer.done()
        assert done.status == "ok", done.error
        [path] = done.files
        pupil = Worker(MODELS / "classify-text", environment={"COG_WEIGHTS": path})
        pupil.socket.settimeout(LOADING)
        try:
            pupil.ready()
            pupil.run(*({"text": text} for text in NEW), ids="abc")
            found = [output(each)[0]["label"] for each in pupil.done_all("abc")]
        finally:
            pupil.close()
    finally:
        trainer.close()
    assert found == list(NEW.values())
    assert json.decode(done.value or b"") == {"weights": f"file:{path}"}


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
