"""Twenty predictors, pushed by `samovar push` to a running stack and called through the official client."""

import base64
import hashlib
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.prediction import Prediction

from benchmarks.stack import Stack
from tests.contract.conftest import connected
from tests.push import PREDICTORS, Said, pushed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OWNER = "tester"
LIMIT = 60.0  # seconds after which what should come will not come


@pytest.fixture(scope="module")
async def replicate(stack: Stack) -> AsyncGenerator[Client]:
    async with connected(stack.url, stack.token) as client:
        yield client


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Callable[[str], Said]:
    """A predictor's push; the first who asks pushes it."""
    done: dict[str, Said] = {}

    def said(name: str) -> Said:
        if name not in done:
            done[name] = pushed(stack, PREDICTORS / name, f"{OWNER}/{name}")
        return done[name]

    return said


class Pushed:
    """Pushed predictors, as the official client calls them."""

    def __init__(self, client: Client, shop: Callable[[str], Said], stack: Stack) -> None:
        self.client = client
        self.shop = shop
        self.stack = stack

    def create(self, name: str, /, **input: Any) -> Prediction:
        return self.client.predictions.create(version=self.shop(name).version, input=input)

    def run(self, name: str, /, **input: Any) -> Prediction:
        prediction = self.create(name, **input)
        prediction.wait()
        return prediction

    def output(self, name: str, /, **input: Any) -> Any:
        prediction = self.run(name, **input)
        assert prediction.status == "succeeded", (prediction.error, prediction.logs)
        return prediction.output

    def until(self, prediction: Prediction, holds: Callable[[Prediction], object]) -> Prediction:
        deadline = time.monotonic() + LIMIT
        while not holds(prediction):
            assert time.monotonic() < deadline, (prediction.status, prediction.logs)
            time.sleep(0.02)
            prediction.reload()
        return prediction

    def schema(self, name: str) -> dict[str, Any]:
        version = self.shop(name).version
        return self.client.models.get(f"{OWNER}/{name}").versions.get(version).openapi_schema

    def logs(self, name: str, said: Said | None = None) -> str:
        """Of the version: how it was built and set up."""
        path = f"/v1/models/{OWNER}/{name}/versions/{(said or self.shop(name)).version}/logs"
        answer = httpx.get(self.stack.url + path, headers=self.stack.headers)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def predictors(replicate: Client, shop: Callable[[str], Said], stack: Stack) -> Pushed:
    return Pushed(replicate, shop, stack)


def content(url: str) -> bytes:
    answer = httpx.get(url, follow_redirects=True, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def data(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{base64.b64encode(text.encode()).decode()}"


def told(text: str, suffix: str = ".txt") -> dict[str, Any]:
    raw = text.encode()
    return {"suffix": suffix, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def test_there_are_twenty_and_the_table_names_all() -> None:
    names = {path.name for path in PREDICTORS.iterdir() if path.is_dir()}
    table = (PREDICTORS / "README.md").read_text()
    assert len(names) == 20
    assert {name for name in names if f"]({name})" not in table} == set()


def test_a_plain_function(predictors: Pushed) -> None:
    assert predictors.output("function", text="hi", times=2) == "HI! HI!"
    assert predictors.output("function", text="Hi", tone="soft", mark="?") == "hi?"
    with pytest.raises(ReplicateError, match="tone"):
        predictors.create("function", text="hi", tone="shrill")


def test_a_model_is_run_by_its_name(predictors: Pushed) -> None:
    predictors.shop("function")
    assert predictors.client.run(f"{OWNER}/function", input={"text": "by name"}) == "BY NAME!"


def test_what_a_runner_measures(predictors: Pushed) -> None:
    metrics = predictors.run("metrics", words=["a", "bcd"]).metrics
    assert metrics is not None
    assert metrics.pop("predict_time") >= 0
    assert metrics.pop("calls") >= 1
    assert metrics.pop("batch_size") == 1
    for name in ("queue_time", "wait_time", "total_time"):
        assert metrics.pop(name) >= 0
    assert metrics == {"words": 2, "letters": {"all": 4, "each": [1, 3]}, "refused": 5, "context": 0}


def test_every_option_of_an_input(predictors: Pushed) -> None:
    output = predictors.output("inputs", text="abc", nothing="given", scale=0.25, unchecked={"a": [None]})
    assert output["given"] == {
        "text": "abc",
        "unchecked": {"a": [None]},
        "count": 3,
        "scale": 0.25,
        "loud": False,
        "size": "small",
        "level": 1,
        "nothing": "given",
        "maybe": None,
        "old": "",
    }
    assert output["types"]["scale"] == "float"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param({"text": "a"}, "text", id="too short"),
        pytest.param({"text": "abcdefghi"}, "text", id="too long"),
        pytest.param({"text": "ABC"}, "text", id="regex"),
        pytest.param({"count": 0}, "count", id="too small"),
        pytest.param({"count": 11}, "count", id="too large"),
        pytest.param({"count": "3"}, "count", id="text for a number"),
        pytest.param({"count": 1.5}, "count", id="fraction"),
        pytest.param({"scale": 1.1}, "scale", id="too large a fraction"),
        pytest.param({"loud": 1}, "loud", id="number for a truth"),
        pytest.param({"size": "huge"}, "size", id="text that is no choice"),
        pytest.param({"level": 4}, "level", id="number that is no choice"),
        pytest.param({"nothing": None}, "nothing", id="null"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(predictors: Pushed, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ReplicateError, match=words) as caught:
        predictors.create("inputs", **{"text": "abc", "unchecked": {}, "nothing": "given", **wrong})
    assert caught.value.status == 422


def test_an_input_without_a_default_is_required(predictors: Pushed) -> None:
    with pytest.raises(ReplicateError, match="nothing is required"):
        predictors.create("inputs", text="abc", unchecked={})


def test_a_schema_says_what_the_inputs_say(predictors: Pushed) -> None:
    schemas = predictors.schema("inputs")["components"]["schemas"]
    properties = schemas["Input"]["properties"]
    assert schemas["Input"]["required"] == ["text", "unchecked", "nothing"]
    assert properties["text"] == {
        "x-order": 0,
        "title": "Text",
        "type": "string",
        "description": "Between 2 and 8 letters",
        "minLength": 2,
        "maxLength": 8,
        "pattern": "^[a-z]+$",
    }
    assert properties["size"]["allOf"] == [{"$ref": "#/components/schemas/size"}]
    assert schemas["level"]["enum"] == [1, 2, 3]
    assert properties["old"]["deprecated"] is True
    assert properties["maybe"]["nullable"] is True
    assert [properties[name]["x-order"] for name in properties] == list(range(10))


def test_inputs_that_may_be_several_things(predictors: Pushed) -> None:
    assert predictors.output("unions", one=5, anything={}) == [5, {}, ["a", 1], [0.5], None, None, {}, {}]
    given = {"one": "x", "anything": {"deep": [None]}, "many": [1, "b"], "numbers": [1, 2.5], "words": ["w"]}
    given |= {"wide": 3, "table": {"k": [1]}, "opaque": {"a": 1}}
    assert predictors.output("unions", **given) == list(given.values())
    with pytest.raises(ReplicateError, match="one"):
        predictors.create("unions", one=[1], anything={})


def test_files_come_from_anywhere_and_go_again(predictors: Pushed, tmp_path: Path) -> None:
    upload = tmp_path / "notes.txt"
    upload.write_text("uploaded")
    page = predictors.output("report", title="made", pages=0)["cover"]
    with upload.open("rb") as opened:
        output = predictors.output("files", file=opened, more=[data("inline"), page], mask=data("m"))
    assert output["mask"] is True
    assert output["files"] == [told("uploaded"), told("inline"), told("made"), told("m")]
    again = predictors.output("files", file=data("alone"))
    assert again == {"files": [told("alone")], "mask": False, "left of the last": 0}


def test_a_file_from_a_private_address_is_refused(predictors: Pushed) -> None:
    """The gateway's own is one, too, for what it has not made itself."""
    prediction = predictors.run("files", file=predictors.stack.url + "/healthz")
    assert prediction.status == "failed"
    assert (prediction.error or "").startswith("file: ")
    assert "SAMOVAR_PRIVATE_INPUTS" in (prediction.error or "")


def test_what_older_predictors_import(predictors: Pushed) -> None:
    prediction = predictors.run("old-names", file=data("read"))
    assert prediction.output == "read heavy True"
    assert prediction.metrics is not None
    assert prediction.metrics["bytes_read"] == 4
    assert "the weights are weights.txt" in predictors.logs("old-names")


def test_a_secret_is_shown_to_nobody(predictors: Pushed) -> None:
    prediction = predictors.run("secrets", key="open sesame")
    assert prediction.output == "11 letters, the last is e; other: False"
    assert prediction.input == {"key": "**********"}
    assert prediction.logs == "the key is **********, and Secret(**********)\n"
    properties = predictors.schema("secrets")["components"]["schemas"]["Input"]["properties"]
    assert (properties["key"]["format"], properties["key"]["x-cog-secret"]) == ("password", True)


def test_a_stream_is_heard_while_it_grows(predictors: Pushed) -> None:
    version = predictors.shop("stream").version
    prediction = predictors.client.predictions.create(
        version=version, input={"text": "first second", "pause": 60}, stream=True
    )
    events = prediction.stream()
    assert str(next(events)) == "first"
    prediction.cancel()
    prediction.wait()
    assert (prediction.status, prediction.output) == ("canceled", ["first"])


def test_chunks_join_to_a_text(predictors: Pushed) -> None:
    predictors.shop("stream")
    chunks = list(predictors.client.stream(f"{OWNER}/stream", input={"text": "one two three"}))
    assert "".join(str(chunk) for chunk in chunks if chunk.event.value == "output") == "one two three"
    schema = predictors.schema("stream")
    output = schema["components"]["schemas"]["Output"]
    assert (output["x-cog-array-type"], output["x-cog-array-display"]) == ("iterator", "concatenate")
    assert schema["paths"]["/predictions"]["post"]["x-cog-streaming"] is True


def test_four_calls_share_one_worker(predictors: Pushed) -> None:
    """Each waits for all others, so that one at a time none would ever end."""
    voices = ["ann", "bob", "cid", "dee"]
    waiting = [predictors.create("chorus", voice=voice, needs=4) for voice in voices]
    for voice, prediction in zip(voices, waiting, strict=True):
        predictors.until(prediction, lambda p: p.status == "succeeded")
        assert "".join(prediction.output or []) == f"{voice} waits, {voice} sings"
        assert prediction.logs == f"only {voice} prints this\n"


def test_one_of_several_calls_is_canceled_and_says_so(predictors: Pushed) -> None:
    stopped, other = (predictors.create("patient", seconds=600) for _ in range(2))
    for prediction in (stopped, other):
        predictors.until(prediction, lambda p: "waiting" in (p.logs or ""))
    stopped.cancel()
    stopped.wait()
    assert (stopped.status, stopped.logs) == ("canceled", "waiting\nput away in time\n")
    other.reload()
    assert other.status == "processing"
    other.cancel()
    assert predictors.output("patient", seconds=0) == "done"


def test_a_canceled_predictor_tidies_up(predictors: Pushed) -> None:
    prediction = predictors.create("tidy", seconds=600)
    predictors.until(prediction, lambda p: "working" in (p.logs or ""))
    prediction.cancel()
    prediction.wait()
    assert (prediction.status, prediction.logs) == ("canceled", "working\ntidied up\n")
    assert predictors.output("tidy", seconds=0) == "0 open"


def test_files_are_found_at_any_depth(predictors: Pushed) -> None:
    report = predictors.output("report", title="tea", pages=2)
    assert (report["title"], report["note"]) == ("tea", None)
    assert content(report["cover"]) == b"tea"
    assert [content(page["file"]) for page in report["pages"]] == [b"tea 0", b"tea 1"]


def test_files_of_one_name_stay_apart(predictors: Pushed) -> None:
    urls = predictors.output("album", count=3)
    assert [url.rpartition("/")[2] for url in urls] == ["picture.bin"] * 3
    assert [content(url) for url in urls] == [b"\0" * 3, b"\1" * 3, b"\2" * 6_000_000]


def test_values_that_are_no_json_yet(predictors: Pushed) -> None:
    output = predictors.output("values", size=3)
    assert content(output.pop("stream")) == b"in memory"
    assert output == {
        "numpy": [1, 0.5, True, [0, 1, 2], 7],
        "torch": [2, 0.25, [[1, 1], [1, 1]]],
        "dataclass": {"x": 1, "y": 2},
        "enum": "red",
        "time": "2026-01-02T03:04:05+00:00",
        "set": [1],
        "tuple": [1, "two", None],
        "generator": [0, 1, 4],
    }


def test_many_bytes_are_a_file(predictors: Pushed) -> None:
    assert content(predictors.output("many-bytes", size=5_500_000)) == b"\xff" * 5_500_000


LOUD = [
    "1 print",
    "2 stderr",
    "3 logging",
    "4 native",
    "5 child",
    "6 child stderr",
    "7 thread",
]


def test_all_that_is_printed_is_told_in_order(predictors: Pushed) -> None:
    prediction = predictors.run("loud")
    assert prediction.output == "hello from cog.yaml"
    assert (prediction.logs or "").splitlines() == LOUD


@pytest.mark.parametrize(("end", "words"), [("raise", "lost my voice"), ("exit", "gone home")])
def test_a_failure_keeps_what_was_printed(predictors: Pushed, end: str, words: str) -> None:
    prediction = predictors.run("loud", end=end)
    assert prediction.status == "failed"
    assert words in (prediction.error or "")
    assert (prediction.logs or "").splitlines()[:7] == LOUD


def test_a_failure_is_the_clients_error(predictors: Pushed) -> None:
    predictors.shop("loud")
    with pytest.raises(ModelError, match="lost my voice"):
        predictors.client.run(f"{OWNER}/loud", input={"end": "raise"})


def test_a_version_keeps_what_its_set_up_printed(predictors: Pushed) -> None:
    said = predictors.shop("loud")
    for text in (predictors.logs("loud"), said.out + said.err):
        assert "set up by print" in text
        assert "set up by a child" in text


def test_what_can_be_trained_predicts_too(predictors: Pushed) -> None:
    assert predictors.output("trainer", number=1) == 2
    schema = predictors.schema("trainer")
    assert list(schema["components"]["schemas"]["TrainingInput"]["properties"]) == ["data", "steps"]
    assert "/trainings" in schema["paths"]


def test_a_predictors_own_modules_come_first(predictors: Pushed) -> None:
    output = predictors.output("own-modules", name="ann")
    assert output[:4] == ["schemas: ann", "utils: ANN", "gateway: ann", "runners: ann"]


def test_what_dockerignore_names_is_not_packed(predictors: Pushed) -> None:
    files = predictors.output("own-modules", name="ann")[4:]
    assert {"main.py", "private/needed.txt", "gateway/door.py"} <= set(files)
    assert {"NOTES.md", "private/diary.txt", "gateway/old.bak"}.isdisjoint(files)


def test_a_version_has_packages_of_its_own(predictors: Pushed) -> None:
    """Over those of the runner: another version of one that is there, and torch from there."""
    assert predictors.output("environment", number=14) == {"roman": "XIV", "iniconfig": "2.0.0"}


def test_how_an_environment_was_made_is_kept(predictors: Pushed, stack: Stack, tmp_path: Path) -> None:
    """One that no run of these tests has made before; a second version shares it."""
    step = f"a step of the build ran {secrets.token_hex(8)}"
    folder = shutil.copytree(PREDICTORS / "environment", tmp_path / "fresh")
    cog = folder / "cog.yaml"
    cog.write_text(cog.read_text().replace("a step of the build ran", step))
    said = pushed(stack, folder, f"{OWNER}/fresh")
    for text in (predictors.logs("fresh", said), said.out + said.err):
        assert {step, "== environment"} <= set(text.splitlines())
        assert "system_packages (ffmpeg)" in text
    shared = pushed(stack, folder, f"{OWNER}/shared")
    assert "is there already" in shared.err
    assert step in predictors.logs("shared", shared)


def test_a_schema_that_lies_beside_is_taken_as_it_is(predictors: Pushed) -> None:
    properties = predictors.schema("verbatim")["components"]["schemas"]["Input"]["properties"]
    assert properties["number"]["description"] == "Said only in the schema that lies beside"
    assert predictors.output("verbatim", number=5) == 105
    with pytest.raises(ReplicateError, match="number"):
        predictors.create("verbatim", number=4)


def test_a_push_tells_its_stages_in_order(predictors: Pushed) -> None:
    said = predictors.shop("function")
    lines = (said.out + said.err).splitlines()
    stages = ["fetch", "config", "environment", "import", "schema", "setup"]
    places = [lines.index(f"== {stage}") for stage in stages]
    assert all(earlier < later for earlier, later in pairwise(places))


def test_the_same_folder_is_the_same_version(predictors: Pushed, stack: Stack) -> None:
    first = predictors.shop("function")
    again = pushed(stack, PREDICTORS / "function", f"{OWNER}/function")
    assert again.version == first.version
    assert "there already" in again.err
    other = pushed(stack, PREDICTORS / "function", f"{OWNER}/function-too")
    assert other.version != first.version
