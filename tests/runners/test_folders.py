import re
from pathlib import Path

import pytest

from runners.folders import BadFolder, read

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


@pytest.mark.parametrize("name", ["hello-world", "count", "minilm", "smollm2"])
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
    ("config", "reason"),
    [
        pytest.param("predict: [", "cog.yaml: while parsing", id="not YAML"),
        pytest.param("- a", "cog.yaml: it must hold a mapping", id="a list"),
        pytest.param("build: {}", "cog.yaml: predict is missing", id="no predictor"),
        pytest.param('predict: "other.py:Predictor"', "other.py: there is no such file", id="no such file"),
        pytest.param('predict: "predict.py"\nenvironment: ["A"]', "'A' is not of the form", id="no value"),
        pytest.param('predict: "predict.py"\nenvironment: {A: b}', "environment must be a list", id="a mapping"),
    ],
)
def test_a_bad_folder_is_refused_with_file_and_reason(folder: Path, config: str, reason: str):
    (folder / "cog.yaml").write_text(config)
    with pytest.raises(BadFolder, match=re.escape(reason)):
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
