"""The rivals: pinned, asked for the same as Samovar, and, where they are installed, answering the same."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import json
from packaging.requirements import Requirement

from benchmarks.plans import INPUTS
from benchmarks.rivals import serving
from benchmarks.rivals.cli import LOADS, known, pairs
from benchmarks.rivals.installing import HERE, NotInstalled, install, python_of, requirements_of
from benchmarks.rivals.names import NAMES, RIVALS
from benchmarks.rivals.serving import PREDICTORS, asked, folder_of, plan
from benchmarks.targets import Target
from deploy.errors import Unusable

SMALL = ("litserve", "mosec")
TRIED = NAMES if os.environ.get("SAMOVAR_TEST_RIVALS") == "all" else SMALL


@pytest.mark.parametrize("name", NAMES)
def test_every_requirement_is_pinned(name: str) -> None:
    pinned = [Requirement(line) for line in requirements_of(name).read_text().splitlines()]
    assert all(len(one.specifier) == 1 and str(one.specifier).startswith("==") for one in pinned)
    assert name in {one.name for one in pinned}


@pytest.mark.parametrize("name", NAMES)
def test_every_rival_has_a_server_and_a_word_in_the_readme(name: str) -> None:
    assert (HERE / name / "server.py").is_file()
    assert f"`{name}`" in (HERE / "README.md").read_text()


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_plan_asks_what_samovar_is_asked(name: str, predictor: str) -> None:
    made = plan(name, predictor, Target(name, "http://127.0.0.1:1"), clients=3)
    assert [_input(name, predictor, json.decode(request.body)) for request in made.requests] == INPUTS[predictor]
    assert made.clients == 3
    assert made.protocol == ("plain-stream" if predictor == "tokens" else "plain")


def test_a_plan_has_the_name_of_samovars_row() -> None:
    target = Target("mosec", "http://127.0.0.1:1")
    names = [plan("mosec", each, target, clients=count).name for each, counts in LOADS.items() for count in counts]
    assert names[:4] == ["no-op, 1 client", "no-op, 32 clients", "sleep 10 ms, 1 client", "sleep 10 ms, 32 clients"]
    assert names[-3:] == ["tokens, 1 stream", "tokens, 100 streams", "1 MB output, 8 clients"]


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_every_predictor_is_a_cog_folder(predictor: str) -> None:
    assert {"cog.yaml", "predict.py"} <= {path.name for path in folder_of(predictor).iterdir()}


def test_what_a_rival_cannot_do_is_left_out() -> None:
    assert set(pairs(NAMES, PREDICTORS)) == {
        (name, each) for name in NAMES for each in PREDICTORS if each not in RIVALS[name].cannot
    }


def test_an_unknown_rival_is_named() -> None:
    with pytest.raises(Unusable, match=re.escape("triton: there is litserve, ")):
        known(["triton"], NAMES)


def test_a_rival_that_is_not_installed_says_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path))
    with pytest.raises(NotInstalled, match="samovar bench rivals install mosec"):
        python_of("mosec")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRIED)
def test_a_rival_is_installed_once_and_answers_as_samovar_does(name: str) -> None:
    said: list[str] = []
    install([name], said.append)
    install([name], said.append)
    assert "is there already" in said[-1]
    with serving.serving(name, "noop") as target:
        assert asked(name, "noop", target) is None
        pid = target.pid
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


def _input(name: str, predictor: str, body: Any) -> Any:
    """As the predictor gets it."""
    if predictor in RIVALS[name].lists:
        return body["inputs"][0]
    wrapped = RIVALS[name].wraps
    return body[wrapped] if wrapped else body
