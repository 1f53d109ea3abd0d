"""A module is changed as soon as it has been imported."""

import importlib
import sys
from collections.abc import Generator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from runners.worker.devices.import_hooks import PostImportHooks


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    (tmp_path / "samovarish").mkdir()
    (tmp_path / "samovarish" / "__init__.py").write_text("from .parts import answer\n")
    (tmp_path / "samovarish" / "parts.py").write_text("def answer(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in [name for name in sys.modules if name.startswith("samovarish")]:
        del sys.modules[name]


@pytest.mark.usefixtures("library")
def test_importers_see_the_changed_module():
    PostImportHooks({"samovarish.parts": lambda module: setattr(module, "answer", lambda: 2)}).install()
    assert importlib.import_module("samovarish").answer() == 2


@pytest.mark.usefixtures("library")
def test_the_module_keeps_its_loader():
    PostImportHooks({"samovarish.parts": lambda _: None}).install()
    parts = importlib.import_module("samovarish.parts")
    assert isinstance(parts.__loader__, SourceFileLoader)
    assert parts.__loader__.get_source("samovarish.parts") == "def answer(): return 1\n"


@pytest.mark.usefixtures("library")
def test_installing_a_hook_imports_nothing():
    PostImportHooks({"samovarish": lambda _: None}).install()
    assert "samovarish" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("samovarish.nowhere")
