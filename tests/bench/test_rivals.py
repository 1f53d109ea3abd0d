"""The rivals: pinned, asked for the same as Samovar, and, where they are installed, answering the same."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import json
from packaging.requirements import Requirement

from benchmarks.plans import INPUTS
from benchmarks.rivals import server_process
from benchmarks.rivals.cli import DEFAULT_CLIENTS, order_runs, select_names
from benchmarks.rivals.installation import HERE, NotInstalled, find_python, install, requirements_file
from benchmarks.rivals.registry import NAMES, RIVALS
from benchmarks.rivals.server_process import PREDICTORS, check_answer, create_plan, predictor_folder
from benchmarks.targets import Target
from deploy.errors import UsageError

SMALL = ("litserve", "mosec")
TRIED = NAMES if os.environ.get("SAMOVAR_TEST_RIVALS") == "all" else SMALL


@pytest.mark.parametrize("name", NAMES)
def test_every_requirement_is_pinned(name: str) -> None:
    pinned = [Requirement(line) for line in requirements_file(name).read_text().splitlines()]
    assert all(len(one.specifier) == 1 and str(one.specifier).startswith("==") for one in pinned)
    assert name in {one.name for one in pinned}


@pytest.mark.parametrize("name", NAMES)
def test_every_rival_has_a_server_and_is_in_the_readme(name: str) -> None:
    assert (HERE / name / "server.py").is_file()
    assert f"`{name}`" in (HERE / "README.md").read_text()


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_rivals_plan_has_samovars_inputs(name: str, predictor: str) -> None:
    plan = create_plan(name, predictor, Target(name, "http://127.0.0.1:1"), clients=3)
    assert [_input(name, predictor, json.decode(request.body)) for request in plan.requests] == INPUTS[predictor]
    assert plan.clients == 3
    assert plan.protocol == ("plain-stream" if predictor == "tokens" else "plain")


def test_a_rivals_plan_has_the_name_of_samovars_row() -> None:
    target = Target("mosec", "http://127.0.0.1:1")
    names = [
        create_plan("mosec", each, target, clients=count).name
        for each, counts in DEFAULT_CLIENTS.items()
        for count in counts
    ]
    assert names[:4] == ["no-op, 1 client", "no-op, 32 clients", "sleep 10 ms, 1 client", "sleep 10 ms, 32 clients"]
    assert names[-3:] == ["tokens, 1 stream", "tokens, 100 streams", "1 MB output, 8 clients"]


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_every_predictor_is_a_cog_folder(predictor: str) -> None:
    assert {"cog.yaml", "predict.py"} <= {path.name for path in predictor_folder(predictor).iterdir()}


def test_unsupported_predictors_of_a_rival_are_left_out() -> None:
    assert set(order_runs(NAMES, PREDICTORS)) == {
        (name, each) for name in NAMES for each in PREDICTORS if each not in RIVALS[name].unsupported
    }


def test_an_unknown_rival_is_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("triton: choose from litserve, ")):
        select_names(["triton"], NAMES)


def test_a_missing_rival_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path))
    with pytest.raises(NotInstalled, match="samovar bench rivals install mosec"):
        find_python("mosec")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRIED)
def test_a_rival_is_installed_once_and_answers_correctly(name: str) -> None:
    lines: list[str] = []
    install([name], lines.append)
    install([name], lines.append)
    assert "already installed" in lines[-1]
    with server_process.run_rival(name, "noop") as target:
        assert check_answer(name, "noop", target) is None
        pid = target.pid
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


def _input(name: str, predictor: str, body: Any) -> Any:
    """As the predictor gets it."""
    if predictor in RIVALS[name].list_predictors:
        return body["inputs"][0]
    wrapped = RIVALS[name].input_field
    return body[wrapped] if wrapped else body
