"""A push that fails says where and why, whatever fails, and the model's last good version goes on serving."""

import io
import tarfile
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client

from benchmarks.stack import Stack, running_stack
from tests.contract.conftest import open_client
from tests.push import push, push_successfully, run_samovar, write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MODEL = "tester/fragile"
LIMIT = 60.0
GOOD = """
from cog import BasePredictor

class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return "good " + text
"""
SETUP = """
from cog import BasePredictor

class Predictor(BasePredictor):
    def setup(self) -> None:
        print("looking for the weights", flush=True)
        {}

    def predict(self, text: str) -> str:
        return text
"""
COG = 'predict: "predict.py:Predictor"\n'


@pytest.fixture(scope="module")
def workshop() -> Generator[Stack]:
    """A stack with short limits, which tests may leave in any state."""
    with running_stack(environ={"SAMOVAR_SETUP_LIMIT": "8", "SAMOVAR_BUNDLED": "false"}) as stack:
        yield stack


@pytest.fixture(scope="module")
async def replicate(workshop: Stack) -> AsyncGenerator[Client]:
    async with open_client(workshop.url, workshop.token) as client:
        yield client


@pytest.fixture(scope="module")
def good(workshop: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version that must go on serving."""
    return push_successfully(workshop, write_folder(tmp_path_factory.mktemp("good"), predict=GOOD), MODEL).version


SET_UPS = [
    pytest.param({"predict": SETUP.format('raise ValueError("no weights")')}, "setup: predict.py:7: ", "no weights"),
    pytest.param({"predict": SETUP.format("import time; time.sleep(600)")}, "setup: ", "limit of 8 s"),
    pytest.param({"predict": SETUP.format("import os; os._exit(3)")}, "setup: ", "exit"),
    pytest.param({"predict": SETUP.format('import sys; sys.exit("no GPU")')}, "setup: ", "no GPU"),
]
OTHERS = [
    pytest.param({"cog": COG + "build:\n  cudaa: 12\n"}, "config: cog.yaml:3: ", "cudaa", id="cog.yaml"),
    pytest.param({"cog": COG + "build: [\n"}, "config: cog.yaml:", "", id="YAML"),
    pytest.param({"cog": 'predict: "other.py:Predictor"\n'}, "config: cog.yaml:1: ", "other.py", id="missing file"),
    pytest.param({"predict": "import json\nimport no_such_module\n"}, "import: predict.py:2: ", "no_such_module"),
    pytest.param({"predict": "def predict(:\n"}, "import: predict.py:1: ", "", id="syntax"),
    pytest.param({"predict": "import helper", "helper": "\n\n1 / 0\n"}, "import: helper.py:3: ", "division by zero"),
    pytest.param({"predict": "class Other:\n    pass\n"}, "import: predict.py", "Predictor", id="no predictor"),
    pytest.param(
        {"cog": COG + "build:\n  python_packages:\n    - samovar-has-no-such-package==1.0\n"},
        "environment: cog.yaml:4: ",
        "samovar-has-no-such-package",
        id="package",
    ),
    pytest.param({"cog": COG + "build:\n  run:\n    - exit 7\n"}, "environment: cog.yaml:4: ", "7", id="run step"),
    pytest.param({"cog": COG + 'build:\n  python_version: "3.4"\n'}, "environment: cog.yaml:3: ", "3.4", id="python"),
    pytest.param({"predict": GOOD.replace("text: str", "text: complex")}, "schema: predict.py:5: ", "text", id="type"),
    pytest.param({"predict": GOOD.replace("-> str", "-> complex")}, "schema: predict.py:5: ", "complex", id="output"),
]


@pytest.mark.parametrize(("files", "where", "reason"), [*SET_UPS, *OTHERS])
def test_a_failed_push_says_where_and_why(
    workshop: Stack, replicate: Client, good: str, tmp_path: Path, files: dict[str, str], where: str, reason: str
) -> None:
    result = push(workshop, write_folder(tmp_path, **{"predict": GOOD, **files}), MODEL)
    assert result.status == 1
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if where in line]
    assert len(lines) == 1, result.err
    assert reason in result.err
    assert "Traceback" not in lines[0]
    model = replicate.models.get(MODEL)
    assert model.latest_version is not None
    assert model.latest_version.id == good
    assert replicate.run(f"{MODEL}:{good}", input={"text": "still"}) == "good still"


@pytest.mark.parametrize("files", [param.values[0] for param in SET_UPS], ids=["raises", "hangs", "exits", "leaves"])
def test_a_failed_setup_is_reported_with_its_log(
    workshop: Stack, good: str, tmp_path: Path, files: dict[str, str]
) -> None:
    assert good
    result = push(workshop, write_folder(tmp_path, predict=files["predict"] + "# told\n"), MODEL)
    assert result.status == 1
    assert "looking for the weights" in result.err


def test_a_failed_push_says_which_version_goes_on_serving(workshop: Stack, good: str, tmp_path: Path) -> None:
    result = push(workshop, write_folder(tmp_path, predict="import no_such_module\n"), MODEL)
    assert f"last good version, {good[:12]}" in result.err


def test_a_first_push_that_fails_makes_no_model(workshop: Stack, tmp_path: Path) -> None:
    assert push(workshop, write_folder(tmp_path, predict="1 / 0\n"), "tester/stillborn").status == 1
    answer = httpx.get(f"{workshop.url}/v1/models/tester/stillborn", headers=workshop.headers)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("files", "where"),
    [
        pytest.param({"cog.yaml": b"predict: 5\nbuilt: {}\n"}, "config: cog.yaml:", id="cog.yaml"),
        pytest.param({"README.md": b"nothing else"}, "config: cog.yaml: ", id="no cog.yaml"),
        pytest.param({"cog.yaml": COG.encode()}, "config: cog.yaml:1: ", id="missing file"),
        pytest.param({"../escaped": b"x", "cog.yaml": COG.encode()}, "fetch: ", id="a path that leads out"),
        pytest.param(None, "fetch: ", id="no archive"),
    ],
)
def test_a_runner_checks_what_others_may_not_have_checked(
    workshop: Stack, files: dict[str, bytes] | None, where: str
) -> None:
    """Push without the command, which would have noticed by itself."""
    created = pack(files) if files is not None else b"no archive at all" * 100
    ended = wait_until_final(workshop, upload(workshop, MODEL, created))
    assert ended["status"] == "failed"
    assert ended["error"].startswith(where)


def test_a_push_can_be_canceled(workshop: Stack, tmp_path: Path) -> None:
    created = write_folder(tmp_path, predict=SETUP.format("import time; time.sleep(5)"))
    push = upload(workshop, MODEL, pack({path.name: path.read_bytes() for path in created.iterdir()}))
    wait_until(workshop, push, lambda p: p["status"] == "processing")
    answer = httpx.post(push["urls"]["cancel"], headers=workshop.headers, timeout=LIMIT)
    assert answer.status_code == 200
    assert wait_until_final(workshop, push)["status"] == "canceled"


def test_a_push_under_way_is_returned_again(workshop: Stack, tmp_path: Path) -> None:
    created = write_folder(tmp_path, predict=SETUP.format("import time; time.sleep(3)  # twice"))
    content = pack({path.name: path.read_bytes() for path in created.iterdir()})
    first = upload(workshop, "tester/twice", content)
    again = upload(workshop, "tester/twice", content, status=200)
    assert again["id"] == first["id"]
    assert wait_until_final(workshop, first)["status"] == "succeeded"


WAITS = """
import time
from cog import BasePredictor

class Predictor(BasePredictor):
    def predict(self, seconds: float) -> str:
        print("begun", flush=True)
        time.sleep(seconds)
        return "waited"
"""


def test_deleting_a_version_ends_its_jobs_with_the_reason(workshop: Stack, replicate: Client, tmp_path: Path) -> None:
    version = push_successfully(workshop, write_folder(tmp_path, predict=WAITS), "tester/doomed").version
    runs, waits = (replicate.predictions.create(version=version, input={"seconds": 600}) for _ in range(2))
    deadline = time.monotonic() + LIMIT
    while "begun" not in (runs.logs or ""):
        assert time.monotonic() < deadline, runs.status
        time.sleep(0.02)
        runs.reload()
    result = run_samovar(workshop, "models", "delete", f"tester/doomed:{version}", "--yes")
    assert result.status == 0, result.err
    for prediction in (runs, waits):
        prediction.wait()
        assert prediction.status == "canceled"
        assert "version was deleted" in (prediction.error or "")
    answer = httpx.get(f"{workshop.url}/v1/models/tester/doomed/versions/{version}", headers=workshop.headers)
    assert answer.status_code == 404


def test_a_deleted_version_can_be_pushed_again(workshop: Stack, replicate: Client, tmp_path: Path) -> None:
    created = write_folder(tmp_path, predict=GOOD + "# again\n")
    version = push_successfully(workshop, created, "tester/risen").version
    assert replicate.run(f"tester/risen:{version}", input={"text": "a"}) == "good a"
    assert run_samovar(workshop, "models", "delete", f"tester/risen:{version}", "--yes").status == 0
    assert push_successfully(workshop, created, "tester/risen").version == version
    assert replicate.run(f"tester/risen:{version}", input={"text": "b"}) == "good b"


def pack(files: dict[str, bytes]) -> bytes:
    created = io.BytesIO()
    with tarfile.open(fileobj=created, mode="w") as tar:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return created.getvalue()


def upload(stack: Stack, model: str, content: bytes, status: int = 201) -> dict[str, Any]:
    url = f"{stack.url}/v1/models/{model}/versions"
    headers = {**stack.headers, "Content-Type": "application/x-tar"}
    answer = httpx.post(url, content=content, headers=headers, timeout=LIMIT)
    assert answer.status_code == status, answer.text
    return answer.json()


def wait_until_final(stack: Stack, push: dict[str, Any]) -> dict[str, Any]:
    return wait_until(stack, push, lambda p: p["status"] in ("succeeded", "failed", "canceled"))


def wait_until(stack: Stack, push: dict[str, Any], matches: Any) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT
    while not matches(push):
        assert time.monotonic() < deadline, push
        time.sleep(0.02)
        push = httpx.get(push["urls"]["get"], headers=stack.headers, timeout=LIMIT).json()
    return push
