"""What an instance needs: said, measured, guessed; in this order."""

from pathlib import Path

import pytest

from runners.errors import NotOffered
from runners.placement.memory_profiles import CONTEXT, GUESS, SPARE, Hints, Measured, Needs, hints, need
from runners.placement.planner import CPU, CUDA, Device, Host

G = 10**9
HERE = Host(memory=8 * G, devices=(Device(name="cpu:0", kind=CPU, label="", memory=6 * G),))
GPU = Host(memory=8 * G, devices=(Device(name="cuda:0", kind=CUDA, label="", memory=16 * G),))


@pytest.mark.parametrize(
    ("said", "measured", "memory"),
    [
        pytest.param(Hints(memory=3 * G), Measured(host=G), 3 * G, id="as it says"),
        pytest.param(Hints(), Measured(host=G), int(SPARE * G), id="as it was measured"),
        pytest.param(Hints(), Measured(), GUESS, id="as one guesses"),
        pytest.param(Hints(memory=9 * G), Measured(), 8 * G, id="never more than there is"),
    ],
)
def test_memory_is_known_from_the_best_source(said: Hints, measured: Measured, memory: int) -> None:
    found = need(HERE, said, measured)
    assert (found.host, found.device) == (memory, min(memory, 6 * G))


def test_a_gpus_memory_is_counted_apart() -> None:
    assert need(GPU, Hints(), Measured(host=G, device=4 * G)).device == int(SPARE * 4 * G) + CONTEXT
    assert need(GPU, Hints(device_memory=2 * G), Measured(device=4 * G)).device == 2 * G


def test_of_a_gpu_the_first_load_gets_a_whole_one() -> None:
    assert need(GPU, Hints(), Measured()).device == 16 * G


def test_what_could_not_be_set_up_gets_all_there_is() -> None:
    assert need(HERE, Hints(), Measured(whole=True)).host == 8 * G
    assert need(GPU, Hints(), Measured(whole=True)).whole


def test_what_was_learnt_outlives_the_agent(tmp_path: Path) -> None:
    Needs(tmp_path / "needs").learn("a" * 64, host=5, fits=4)
    assert Needs(tmp_path / "needs").of("a" * 64) == Measured(host=5, fits=4)


def test_a_version_that_nobody_has_measured_is_taken_for_one_like_the_others(tmp_path: Path) -> None:
    known = Needs(tmp_path)
    assert known.guess() == GUESS
    for digit, size in zip("abc", (G, 3 * G, 9 * G), strict=True):
        known.learn(digit * 64, host=size)
    assert known.guess() == Needs(tmp_path).guess() == int(4.5 * G)


def test_a_file_that_cannot_be_read_is_no_knowledge(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 64}.json").write_text("{")
    assert Needs(tmp_path).of("a" * 64) == Measured()


def test_a_models_environment_holds_hints() -> None:
    said = {"SAMOVAR_MEMORY": "2GB", "SAMOVAR_MIN_INSTANCES": "1", "SAMOVAR_IDLE_TIMEOUT": "2.5", "OTHER": "x"}
    assert hints(said) == Hints(memory=2 * G, min_instances=1, idle_timeout=2.5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SAMOVAR_MEMORY", "much"),
        ("SAMOVAR_DEVICE_MEMORY", "-1"),
        ("SAMOVAR_MIN_INSTANCES", "some"),
        ("SAMOVAR_MAX_INSTANCES", "0"),
        ("SAMOVAR_IDLE_TIMEOUT", "nan"),
    ],
)
def test_a_hint_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(NotOffered, match=f"cog.yaml: environment: {name}: '{text}'"):
        hints({name: text})
