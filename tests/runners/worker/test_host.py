"""A predictor cannot import our packages, and may have modules of the same names."""

import tomllib
from pathlib import Path

import pytest

from runners.worker.host import OUR_PACKAGES
from tests.runners.worker.driver import output, running_worker, write_predictor
from tests.runners.worker.test_serve import predict

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
MODULES = ["gateway.main", "runners.main", "schemas.models", "bus.client", "deploy.errors", "benchmarks.machine"]


def test_all_packages_of_the_distribution_are_hidden():
    wheel = tomllib.loads(PYPROJECT.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) == OUR_PACKAGES


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_no_package_of_ours_can_be_imported(tmp_path: Path, keyword: str):
    body = """
import importlib
outcomes = {}
for name in names:
    try:
        outcomes[name] = importlib.import_module(name).__name__
    except ModuleNotFoundError as error:
        outcomes[name] = str(error)
return outcomes
"""
    with running_worker(
        write_predictor(tmp_path, predict(body, arguments="names: list[str]", keyword=keyword))
    ) as worker:
        worker.run({"names": MODULES})
        assert output(worker.done()) == {name: f"No module named {name.split('.')[0]!r}" for name in MODULES}


def test_a_predictors_own_modules_of_these_names_win(tmp_path: Path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "speed.py").write_text("NAME = 'own benchmarks'")
    code = predict("import bus, benchmarks.speed\nreturn [bus.NAME, benchmarks.speed.NAME]")
    with running_worker(write_predictor(tmp_path, code, bus="NAME = 'own bus'")) as worker:
        worker.run({})
        assert output(worker.done()) == ["own bus", "own benchmarks"]


def test_a_spawned_child_cannot_import_them_either(tmp_path: Path):
    code = """
        import importlib, multiprocessing
        from cog import BasePredictor

        def attempt(name):
            try:
                return importlib.import_module(name).__name__
            except ModuleNotFoundError as error:
                return str(error)

        class Predictor(BasePredictor):
            def predict(self) -> str:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return pool.apply(attempt, ("bus.client",))
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        assert output(worker.done()) == "No module named 'bus'"


def test_the_standard_library_is_not_shadowed_by_folders_of_the_worker(tmp_path: Path):
    code = """
        import multiprocessing, sys
        from cog import BasePredictor

        def places():
            import io
            return [io.__name__, hasattr(io, "BytesIO"), any("runners/worker" in entry for entry in sys.path)]

        class Predictor(BasePredictor):
            def predict(self) -> list:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return [places(), pool.apply(places)]
    """
    with running_worker(write_predictor(tmp_path, code)) as worker:
        worker.run({})
        assert output(worker.done()) == [["io", True, False]] * 2
