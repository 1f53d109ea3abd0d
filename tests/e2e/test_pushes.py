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
from tests.contract.conftest import open_client
from tests.push import PREDICTORS, CommandResult, push_successfully

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OWNER = "tester"
LIMIT = 60.0  # seconds after which what should come will not come


@pytest.fixture(scope="module")
async def replicate(stack: Stack) -> AsyncGenerator[Client]:
    async with open_client(stack.url, stack.token) as client:
        yield client


@pytest.fixture(scope="module")
def push_predictor(stack: Stack) -> Callable[[str], CommandResult]:
    """Pushes a predictor the first time, and returns the result of that push."""
    results: dict[str, CommandResult] = {}

    def push_once(name: str) -> CommandResult:
        if name not in results:
            results[name] = push_successfully(stack, PREDICTORS / name, f"{OWNER}/{name}")
        return results[name]

    return push_once


class PushedPredictors:
    """Pushed predictors, as the official client calls them."""

    def __init__(self, client: Client, push_predictor: Callable[[str], CommandResult], stack: Stack) -> None:
        self.client = client
        self.push_predictor = push_predictor
        self.stack = stack

    def create(self, name: str, /, **input: Any) -> Prediction:
        return self.client.predictions.create(version=self.push_predictor(name).version, input=input)

    def run(self, name: str, /, **input: Any) -> Prediction:
        prediction = self.create(name, **input)
        prediction.wait()
        return prediction

    def output(self, name: str, /, **input: Any) -> Any:
        prediction = self.run(name, **input)
        assert prediction.status == "succeeded", (prediction.error, prediction.logs)
        return prediction.output

    def wait_until(self, prediction: Prediction, matches: Callable[[Prediction], object]) -> Prediction:
        deadline = time.monotonic() + LIMIT
        while not matches(prediction):
            assert time.monotonic() < deadline, (prediction.status, prediction.logs)
            time.sleep(0.02)
            prediction.reload()
        return prediction

    def schema(self, name: str) -> dict[str, Any]:
        version = self.push_predictor(name).version
        return self.client.models.get(f"{OWNER}/{name}").versions.get(version).openapi_schema

    def logs(self, name: str, result: CommandResult | None = None) -> str:
        """Return the log of the version's build and setup."""
        path = f"/v1/models/{OWNER}/{name}/versions/{(result or self.push_predictor(name)).version}/logs"
        answer = httpx.get(self.stack.url + path, headers=self.stack.headers)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def predictors(replicate: Client, push_predictor: Callable[[str], CommandResult], stack: Stack) -> PushedPredictors:
    return PushedPredictors(replicate, push_predictor, stack)


def download(url: str) -> bytes:
    answer = httpx.get(url, follow_redirects=True, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def data_uri(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{base64.b64encode(text.encode()).decode()}"


def file_facts(text: str, suffix: str = ".txt") -> dict[str, Any]:
    raw = text.encode()
    return {"suffix": suffix, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def test_there_are_twenty_and_the_table_names_all() -> None:
    names = {path.name for path in PREDICTORS.iterdir() if path.is_dir()}
    table = (PREDICTORS / "README.md").read_text()
    assert len(names) == 20
    assert {name for name in names if f"]({name})" not in table} == set()


def test_a_plain_function(predictors: PushedPredictors) -> None:
    assert predictors.output("function", text="hi", times=2) == "HI! HI!"
    assert predictors.output("function", text="Hi", tone="soft", mark="?") == "hi?"
    with pytest.raises(ReplicateError, match="tone"):
        predictors.create("function", text="hi", tone="shrill")


def test_a_model_is_run_by_its_name(predictors: PushedPredictors) -> None:
    predictors.push_predictor("function")
    assert predictors.client.run(f"{OWNER}/function", input={"text": "by name"}) == "BY NAME!"


def test_what_a_runner_measures(predictors: PushedPredictors) -> None:
    metrics = predictors.run("metrics", words=["a", "bcd"]).metrics
    assert metrics is not None
    assert metrics.pop("predict_time") >= 0
    assert metrics.pop("calls") >= 1
    assert metrics.pop("batch_size") == 1
    for name in ("queue_time", "wait_time", "total_time"):
        assert metrics.pop(name) >= 0
    assert metrics == {"words": 2, "letters": {"all": 4, "each": [1, 3]}, "refused": 5, "context": 0}


def test_every_option_of_an_input(predictors: PushedPredictors) -> None:
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
def test_an_input_that_does_not_fit_is_refused(predictors: PushedPredictors, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ReplicateError, match=words) as caught:
        predictors.create("inputs", **{"text": "abc", "unchecked": {}, "nothing": "given", **wrong})
    assert caught.value.status == 422


def test_an_input_without_a_default_is_required(predictors: PushedPredictors) -> None:
    with pytest.raises(ReplicateError, match="nothing is required"):
        predictors.create("inputs", text="abc", unchecked={})


def test_a_schema_describes_the_inputs(predictors: PushedPredictors) -> None:
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


def test_inputs_that_may_be_several_things(predictors: PushedPredictors) -> None:
    assert predictors.output("unions", one=5, anything={}) == [5, {}, ["a", 1], [0.5], None, None, {}, {}]
    given = {"one": "x", "anything": {"deep": [None]}, "many": [1, "b"], "numbers": [1, 2.5], "words": ["w"]}
    given |= {"wide": 3, "table": {"k": [1]}, "opaque": {"a": 1}}
    assert predictors.output("unions", **given) == list(given.values())
    with pytest.raises(ReplicateError, match="one"):
        predictors.create("unions", one=[1], anything={})


def test_files_come_from_anywhere_and_go_again(predictors: PushedPredictors, tmp_path: Path) -> None:
    upload = tmp_path / "notes.txt"
    upload.write_text("uploaded")
    page = predictors.output("report", title="made", pages=0)["cover"]
    with upload.open("rb") as opened:
        output = predictors.output("files", file=opened, more=[data_uri("inline"), page], mask=data_uri("m"))
    assert output["mask"] is True
    assert output["files"] == [file_facts("uploaded"), file_facts("inline"), file_facts("made"), file_facts("m")]
    repeated = predictors.output("files", file=data_uri("alone"))
    assert repeated == {"files": [file_facts("alone")], "mask": False, "left of the last": 0}


def test_a_file_from_a_private_address_is_refused(predictors: PushedPredictors) -> None:
    """The gateway's own address is private too, for files that it has not made itself."""
    prediction = predictors.run("files", file=predictors.stack.url + "/healthz")
    assert prediction.status == "failed"
    assert (prediction.error or "").startswith("file: ")
    assert "SAMOVAR_PRIVATE_INPUTS" in (prediction.error or "")


def test_what_older_predictors_import(predictors: PushedPredictors) -> None:
    prediction = predictors.run("old-names", file=data_uri("read"))
    assert prediction.output == "read heavy True"
    assert prediction.metrics is not None
    assert prediction.metrics["bytes_read"] == 4
    assert "the weights are weights.txt" in predictors.logs("old-names")


def test_a_secret_is_shown_to_nobody(predictors: PushedPredictors) -> None:
    prediction = predictors.run("secrets", key="open sesame")
    assert prediction.output == "11 letters, the last is e; other: False"
    assert prediction.input == {"key": "**********"}
    assert prediction.logs == "the key is **********, and Secret(**********)\n"
    properties = predictors.schema("secrets")["components"]["schemas"]["Input"]["properties"]
    assert (properties["key"]["format"], properties["key"]["x-cog-secret"]) == ("password", True)


def test_a_stream_delivers_chunks_while_the_model_runs(predictors: PushedPredictors) -> None:
    version = predictors.push_predictor("stream").version
    prediction = predictors.client.predictions.create(
        version=version, input={"text": "first second", "pause": 60}, stream=True
    )
    events = prediction.stream()
    assert str(next(events)) == "first"
    prediction.cancel()
    prediction.wait()
    assert (prediction.status, prediction.output) == ("canceled", ["first"])


def test_chunks_join_to_a_text(predictors: PushedPredictors) -> None:
    predictors.push_predictor("stream")
    chunks = list(predictors.client.stream(f"{OWNER}/stream", input={"text": "one two three"}))
    assert "".join(str(chunk) for chunk in chunks if chunk.event.value == "output") == "one two three"
    schema = predictors.schema("stream")
    output = schema["components"]["schemas"]["Output"]
    assert (output["x-cog-array-type"], output["x-cog-array-display"]) == ("iterator", "concatenate")
    assert schema["paths"]["/predictions"]["post"]["x-cog-streaming"] is True


def test_four_calls_share_one_worker(predictors: PushedPredictors) -> None:
    """Each call waits for all others: one at a time, none would ever end."""
    voices = ["ann", "bob", "cid", "dee"]
    waiting = [predictors.create("chorus", voice=voice, needs=4) for voice in voices]
    for voice, prediction in zip(voices, waiting, strict=True):
        predictors.wait_until(prediction, lambda p: p.status == "succeeded")
        assert "".join(prediction.output or []) == f"{voice} waits, {voice} sings"
        assert prediction.logs == f"only {voice} prints this\n"


def test_one_of_several_calls_is_canceled_and_says_so(predictors: PushedPredictors) -> None:
    stopped, other = (predictors.create("patient", seconds=600) for _ in range(2))
    for prediction in (stopped, other):
        predictors.wait_until(prediction, lambda p: "waiting" in (p.logs or ""))
    stopped.cancel()
    stopped.wait()
    assert (stopped.status, stopped.logs) == ("canceled", "waiting\nput away in time\n")
    other.reload()
    assert other.status == "processing"
    other.cancel()
    assert predictors.output("patient", seconds=0) == "done"


def test_a_canceled_predictor_tidies_up(predictors: PushedPredictors) -> None:
    prediction = predictors.create("tidy", seconds=600)
    predictors.wait_until(prediction, lambda p: "working" in (p.logs or ""))
    prediction.cancel()
    prediction.wait()
    assert (prediction.status, prediction.logs) == ("canceled", "working\ntidied up\n")
    assert predictors.output("tidy", seconds=0) == "0 open"


def test_files_are_found_at_any_depth(predictors: PushedPredictors) -> None:
    report = predictors.output("report", title="tea", pages=2)
    assert (report["title"], report["note"]) == ("tea", None)
    assert download(report["cover"]) == b"tea"
    assert [download(page["file"]) for page in report["pages"]] == [b"tea 0", b"tea 1"]


def test_files_of_one_name_stay_apart(predictors: PushedPredictors) -> None:
    urls = predictors.output("album", count=3)
    assert [url.rpartition("/")[2] for url in urls] == ["picture.bin"] * 3
    assert [download(url) for url in urls] == [b"\0" * 3, b"\1" * 3, b"\2" * 6_000_000]


def test_values_that_are_no_json_yet(predictors: PushedPredictors) -> None:
    output = predictors.output("values", size=3)
    assert download(output.pop("stream")) == b"in memory"
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


def test_many_bytes_are_a_file(predictors: PushedPredictors) -> None:
    assert download(predictors.output("many-bytes", size=5_500_000)) == b"\xff" * 5_500_000


LOUD = [
    "1 print",
    "2 stderr",
    "3 logging",
    "4 native",
    "5 child",
    "6 child stderr",
    "7 thread",
]


def test_everything_printed_is_logged_in_order(predictors: PushedPredictors) -> None:
    prediction = predictors.run("loud")
    assert prediction.output == "hello from cog.yaml"
    assert (prediction.logs or "").splitlines() == LOUD


@pytest.mark.parametrize(("end", "words"), [("raise", "lost my voice"), ("exit", "gone home")])
def test_a_failure_keeps_what_was_printed(predictors: PushedPredictors, end: str, words: str) -> None:
    prediction = predictors.run("loud", end=end)
    assert prediction.status == "failed"
    assert words in (prediction.error or "")
    assert (prediction.logs or "").splitlines()[:7] == LOUD


def test_a_failure_is_the_clients_error(predictors: PushedPredictors) -> None:
    predictors.push_predictor("loud")
    with pytest.raises(ModelError, match="lost my voice"):
        predictors.client.run(f"{OWNER}/loud", input={"end": "raise"})


def test_a_version_keeps_what_its_set_up_printed(predictors: PushedPredictors) -> None:
    result = predictors.push_predictor("loud")
    for text in (predictors.logs("loud"), result.out + result.err):
        assert "set up by print" in text
        assert "set up by a child" in text


def test_a_trainable_model_predicts_too(predictors: PushedPredictors) -> None:
    assert predictors.output("trainer", number=1) == 2
    schema = predictors.schema("trainer")
    assert list(schema["components"]["schemas"]["TrainingInput"]["properties"]) == ["data", "steps"]
    assert "/trainings" in schema["paths"]


def test_a_predictors_own_modules_come_first(predictors: PushedPredictors) -> None:
    output = predictors.output("own-modules", name="ann")
    assert output[:4] == ["schemas: ann", "utils: ANN", "gateway: ann", "runners: ann"]


def test_files_in_dockerignore_are_not_packed(predictors: PushedPredictors) -> None:
    files = predictors.output("own-modules", name="ann")[4:]
    assert {"main.py", "private/needed.txt", "gateway/door.py"} <= set(files)
    assert {"NOTES.md", "private/diary.txt", "gateway/old.bak"}.isdisjoint(files)


def test_a_version_has_packages_of_its_own(predictors: PushedPredictors) -> None:
    """Packages come before those of the runner: another version of one of them, and torch from the runner."""
    assert predictors.output("environment", number=14) == {"roman": "XIV", "iniconfig": "2.0.0"}


def test_the_log_of_an_environment_is_kept(predictors: PushedPredictors, stack: Stack, tmp_path: Path) -> None:
    """The environment is new to every run of these tests; a second version shares it."""
    step = f"a step of the build ran {secrets.token_hex(8)}"
    folder = shutil.copytree(PREDICTORS / "environment", tmp_path / "fresh")
    cog = folder / "cog.yaml"
    cog.write_text(cog.read_text().replace("a step of the build ran", step))
    result = push_successfully(stack, folder, f"{OWNER}/fresh")
    for text in (predictors.logs("fresh", result), result.out + result.err):
        assert {step, "== environment"} <= set(text.splitlines())
        assert "system_packages (ffmpeg)" in text
    shared = push_successfully(stack, folder, f"{OWNER}/shared")
    assert "is there already" in shared.err
    assert step in predictors.logs("shared", shared)


def test_a_schema_file_is_used_as_it_is(predictors: PushedPredictors) -> None:
    properties = predictors.schema("verbatim")["components"]["schemas"]["Input"]["properties"]
    assert properties["number"]["description"] == "Said only in the schema that lies beside"
    assert predictors.output("verbatim", number=5) == 105
    with pytest.raises(ReplicateError, match="number"):
        predictors.create("verbatim", number=4)


def test_a_push_tells_its_stages_in_order(predictors: PushedPredictors) -> None:
    result = predictors.push_predictor("function")
    lines = (result.out + result.err).splitlines()
    stages = ["fetch", "config", "environment", "import", "schema", "setup"]
    places = [lines.index(f"== {stage}") for stage in stages]
    assert all(earlier < later for earlier, later in pairwise(places))


def test_the_same_folder_is_the_same_version(predictors: PushedPredictors, stack: Stack) -> None:
    first = predictors.push_predictor("function")
    repeated = push_successfully(stack, PREDICTORS / "function", f"{OWNER}/function")
    assert repeated.version == first.version
    assert "exists already" in repeated.err
    other = push_successfully(stack, PREDICTORS / "function", f"{OWNER}/function-too")
    assert other.version != first.version
