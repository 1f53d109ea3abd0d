from pathlib import Path

import pytest

from runners.versions.bundled_weights import ConversionFailed, convert


def test_every_model_that_has_a_script_runs_it_with_the_cache(tmp_path: Path):
    quick, none = tmp_path / "quick", tmp_path / "none"
    for folder in (quick, none):
        folder.mkdir()
    script = "import os, pathlib\npathlib.Path('made').write_text(os.environ['SAMOVAR_CACHE_DIR'])"
    (quick / "convert.py").write_text(script)
    convert([none, quick], tmp_path / "cache")
    assert (quick / "made").read_text() == str(tmp_path / "cache")


def test_a_script_that_fails_is_named(tmp_path: Path):
    (tmp_path / "convert.py").write_text("raise SystemExit(3)")
    with pytest.raises(ConversionFailed, match=r"convert\.py ended with 3"):
        convert([tmp_path])
