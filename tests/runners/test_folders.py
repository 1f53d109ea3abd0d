import re
from pathlib import Path

import pytest

from runners.errors import BadFolder
from runners.versions.archive import digest
from runners.versions.model_folder import read
from schemas.models import version_id

BUNDLED = Path(__file__).parents[2] / "runners" / "models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "echo"
    path.mkdir()
    (path / "cog.yaml").write_text('predict: "predict.py:Echo"\nenvironment: ["SIZE=8", "EMPTY=", "URL=a=b"]\n')
    (path / "predict.py").write_text("class Echo: ...")
    return path


def test_a_folder_is_a_model(folder: Path):
    (folder / "README.md").write_text("# Echo\n\nSays it\nagain.\n\nMore.\n")
    found = read(folder, owner="ann")
    assert (found.owner, found.name, found.ref) == ("ann", "echo", "predict.py:Echo")
    assert found.environment == {"SIZE": "8", "EMPTY": "", "URL": "a=b"}
    assert found.description == "Says it again."
    assert found.readme == "# Echo\n\nSays it\nagain.\n\nMore.\n"


@pytest.mark.parametrize(
    "name", ["hello-world", "count", "minilm", "smollm2", "classify", "classify-text", "upscale", "emoji", "ocr"]
)
def test_the_bundled_models_can_be_read(name: str):
    found = read(BUNDLED / name)
    assert (found.owner, found.name) == ("samovar", name)
    assert found.description


def test_a_version_is_of_the_name_and_the_content(folder: Path, tmp_path: Path):
    before = read(folder).version
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert read(folder, owner="ann").version != before
    (folder / "more.txt").write_text("")
    assert read(folder).version != before
    (folder / "more.txt").unlink()
    assert read(folder).version == before
    (folder / "predict.py").write_text("class Echo: pass")
    assert read(folder).version != before


def test_a_version_is_not_of_what_running_leaves_behind(folder: Path):
    before = read(folder).version
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.cpython-311.pyc").write_bytes(b"\0")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    assert read(folder).version == before


@pytest.mark.parametrize(
    ("config", "line", "reason"),
    [
        pytest.param("predict: [", 1, "while parsing", id="not YAML"),
        pytest.param("- a", 1, "it must hold a mapping", id="a list"),
        pytest.param("\nbuild: {}", 1, "predict is missing", id="no predictor"),
        pytest.param('\npredict: "other.py:P"', 2, "predict names other.py, and there is no such file", id="no file"),
        pytest.param('predict: "../predict.py:P"', 1, "must name a Python file in the folder", id="outside"),
        pytest.param('predict: "predict.py"\nenvironment: ["A"]', 2, "'A' is not of the form", id="no value"),
        pytest.param('predict: "predict.py"\nenvironment: {A: b}', 2, "environment is of the wrong type", id="type"),
        pytest.param('predict: "predict.py"\nbatching: 3', 2, "batching is not known here", id="unknown"),
        pytest.param(
            'predict: "predict.py"\nbuild:\n  gpus: 3', 3, "build.gpus is not known here", id="unknown inside"
        ),
        pytest.param(
            'predict: "predict.py"\nbuild:\n  run:\n    - a\n    - 3', 5, "build.run[1] is of the wrong type", id="item"
        ),
        pytest.param('predict: "predict.py"\npredict: "b.py"', 2, "predict stands here a second time", id="twice"),
        pytest.param('predict: "predict.py"\nbuild:\n  python_version: "3"', 3, 'must be like "3.11"', id="python"),
        pytest.param("a: &a {b: 1}\nbuild:\n  <<: *a", 3, "merge keys are not taken here", id="merge"),
        pytest.param('predict: "predict.py"\nconcurrency: {max: 0}', 2, "must be at least 1", id="concurrency"),
    ],
)
def test_a_bad_cog_yaml_is_refused_with_line_and_reason(folder: Path, config: str, line: int, reason: str):
    (folder / "cog.yaml").write_text(config)
    with pytest.raises(BadFolder, match=re.escape(reason)) as caught:
        read(folder)
    assert (caught.value.file, caught.value.line) == ("cog.yaml", line)
    assert "cog.yaml" in str(caught.value)


def test_what_is_asked_for_is_read(folder: Path):
    (folder / "cog.yaml").write_text(
        """
build:
  python_version: 3.10
  python_requirements: needs/all.txt
  system_packages: [ffmpeg]
  cuda: 12.1
  run:
    - make things
    - command: more things
      mounts: [{type: secret, id: x, target: /y}]
predict: predict.py:Echo
train: predict.py:train
concurrency: {max: 4}
"""
    )
    (folder / "needs").mkdir()
    (folder / "needs" / "all.txt").write_text(
        "--index-url https://x.example\n-r more.txt\n-c limits.txt\ncog==0.9\na==1  # why\n"
    )
    (folder / "needs" / "more.txt").write_text("b \\\n  >=2\n")
    (folder / "needs" / "limits.txt").write_text("c<3\n")
    found = read(folder)
    wanted = found.requirements
    assert wanted.python_version == "3.10"
    assert [line.text for line in wanted.packages] == ["--index-url https://x.example", "b    >=2", "a==1"]
    assert (wanted.packages[2].file, wanted.packages[2].line) == ("needs/all.txt", 5)
    assert [line.text for line in wanted.constraints] == ["c<3"]
    assert [(line.text, line.file, line.line) for line in wanted.run] == [
        ("make things", "cog.yaml", 8),
        ("more things", "cog.yaml", 9),
    ]
    assert (found.train, found.concurrency) == ("predict.py:train", 4)
    assert [note.partition(" is not")[0] for note in found.notes] == [
        "cog.yaml:5: build.system_packages (ffmpeg)",
        "cog.yaml:6: build.cuda (12.1)",
        "cog.yaml:7: build.run with mounts",
    ]


def test_a_name_that_is_given_is_the_models(folder: Path):
    found = read(folder, "ann", "other")
    assert (found.owner, found.name) == ("ann", "other")
    assert found.version == version_id("ann", "other", digest(folder).digest)


def test_a_file_that_the_archive_would_lack_is_missed_at_once(folder: Path):
    (folder / ".dockerignore").write_text("*.py\n")
    with pytest.raises(BadFolder, match=r"it names predict\.py, which \.dockerignore leaves out") as caught:
        read(folder)
    assert caught.value.line == 1


def test_requirements_that_are_missing_are_named(folder: Path):
    (folder / "cog.yaml").write_text('predict: "predict.py"\nbuild:\n  python_requirements: none.txt\n')
    with pytest.raises(BadFolder, match=r"none\.txt: there is no such file"):
        read(folder)
    (folder / "cog.yaml").write_text('predict: "predict.py"\nbuild:\n  python_requirements: ../../etc/passwd\n')
    with pytest.raises(BadFolder):
        read(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(BadFolder, match="there is no such folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "Big Name").mkdir()
    with pytest.raises(BadFolder, match="the folder's name is the model's"):
        read(tmp_path / "Big Name")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFolder, match="a model's folder needs one"):
        read(tmp_path / "empty")
