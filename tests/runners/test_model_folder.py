import re
from pathlib import Path

import pytest

from runners.errors import BadFolder
from runners.versions.archive import describe
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
    model = read(folder, owner="ann")
    assert (model.owner, model.name, model.ref) == ("ann", "echo", "predict.py:Echo")
    assert model.environment == {"SIZE": "8", "EMPTY": "", "URL": "a=b"}
    assert model.description == "Says it again."
    assert model.readme == "# Echo\n\nSays it\nagain.\n\nMore.\n"


@pytest.mark.parametrize(
    "name", ["hello-world", "count", "minilm", "smollm2", "classify", "classify-text", "upscale", "emoji", "ocr"]
)
def test_the_bundled_models_can_be_read(name: str):
    model = read(BUNDLED / name)
    assert (model.owner, model.name) == ("samovar", name)
    assert model.description


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


def test_files_left_by_running_do_not_change_the_version(folder: Path):
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
        pytest.param('predict: "predict.py"\nenvironment: {A: b}', 2, "environment has the wrong type", id="type"),
        pytest.param('predict: "predict.py"\nbatching: 3', 2, "batching is not a known key", id="unknown"),
        pytest.param(
            'predict: "predict.py"\nbuild:\n  gpus: 3', 3, "build.gpus is not a known key", id="unknown inside"
        ),
        pytest.param(
            'predict: "predict.py"\nbuild:\n  run:\n    - a\n    - 3', 5, "build.run[1] has the wrong type", id="item"
        ),
        pytest.param('predict: "predict.py"\npredict: "b.py"', 2, "predict is defined twice", id="twice"),
        pytest.param('predict: "predict.py"\nbuild:\n  python_version: "3"', 3, 'must be like "3.11"', id="python"),
        pytest.param("a: &a {b: 1}\nbuild:\n  <<: *a", 3, "merge keys are not allowed here", id="merge"),
        pytest.param('predict: "predict.py"\nconcurrency: {max: 0}', 2, "must be at least 1", id="concurrency"),
    ],
)
def test_a_bad_cog_yaml_is_refused_with_line_and_reason(folder: Path, config: str, line: int, reason: str):
    (folder / "cog.yaml").write_text(config)
    with pytest.raises(BadFolder, match=re.escape(reason)) as caught:
        read(folder)
    assert (caught.value.file, caught.value.line) == ("cog.yaml", line)
    assert "cog.yaml" in str(caught.value)


def test_requirements_and_settings_are_read(folder: Path):
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
    model = read(folder)
    requirements = model.requirements
    assert requirements.python_version == "3.10"
    assert [line.text for line in requirements.packages] == ["--index-url https://x.example", "b    >=2", "a==1"]
    assert (requirements.packages[2].file, requirements.packages[2].line) == ("needs/all.txt", 5)
    assert [line.text for line in requirements.constraints] == ["c<3"]
    assert [(line.text, line.file, line.line) for line in requirements.run] == [
        ("make things", "cog.yaml", 8),
        ("more things", "cog.yaml", 9),
    ]
    assert (model.train, model.concurrency) == ("predict.py:train", 4)
    assert [note.partition(" is not")[0] for note in model.notes] == [
        "cog.yaml:5: build.system_packages (ffmpeg)",
        "cog.yaml:6: build.cuda (12.1)",
        "cog.yaml:7: build.run with mounts",
    ]


def test_a_given_name_is_the_models(folder: Path):
    model = read(folder, "ann", "other")
    assert (model.owner, model.name) == ("ann", "other")
    assert model.version == version_id("ann", "other", describe(folder).digest)


def test_a_predictor_that_the_archive_leaves_out_is_refused(folder: Path):
    (folder / ".dockerignore").write_text("*.py\n")
    with pytest.raises(BadFolder, match=r"it names predict\.py, which \.dockerignore leaves out") as caught:
        read(folder)
    assert caught.value.line == 1


def test_a_missing_requirements_file_is_named(folder: Path):
    (folder / "cog.yaml").write_text('predict: "predict.py"\nbuild:\n  python_requirements: none.txt\n')
    with pytest.raises(BadFolder, match=r"none\.txt: there is no such file"):
        read(folder)
    (folder / "cog.yaml").write_text('predict: "predict.py"\nbuild:\n  python_requirements: ../../etc/passwd\n')
    with pytest.raises(BadFolder):
        read(folder)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(BadFolder, match="there is no such folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "Big Name").mkdir()
    with pytest.raises(BadFolder, match="the folder's name is the model's"):
        read(tmp_path / "Big Name")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFolder, match="a model's folder needs one"):
        read(tmp_path / "empty")
