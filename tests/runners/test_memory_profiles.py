"""The memory that an instance needs: declared, measured, or estimated, in this order."""

from pathlib import Path

import pytest

from runners.errors import UnusableModel
from runners.placement.memory_profiles import (
    CUDA_CONTEXT_BYTES,
    DEFAULT_BYTES,
    HEADROOM,
    Hints,
    MemoryProfile,
    MemoryProfiles,
    memory_need,
    parse_hints,
)
from runners.placement.planner import CPU, CUDA, Device, Host

G = 10**9
HERE = Host(memory=8 * G, devices=(Device(name="cpu:0", kind=CPU, label="", memory=6 * G),))
GPU = Host(memory=8 * G, devices=(Device(name="cuda:0", kind=CUDA, label="", memory=16 * G),))


@pytest.mark.parametrize(
    ("declared", "measured", "memory"),
    [
        pytest.param(Hints(memory=3 * G), MemoryProfile(host=G), 3 * G, id="as it says"),
        pytest.param(Hints(), MemoryProfile(host=G), int(HEADROOM * G), id="as it was measured"),
        pytest.param(Hints(), MemoryProfile(), DEFAULT_BYTES, id="as one guesses"),
        pytest.param(Hints(memory=9 * G), MemoryProfile(), 8 * G, id="never more than there is"),
    ],
)
def test_memory_is_known_from_the_best_source(declared: Hints, measured: MemoryProfile, memory: int) -> None:
    result = memory_need(HERE, declared, measured)
    assert (result.host, result.device) == (memory, min(memory, 6 * G))


def test_a_gpus_memory_is_counted_apart() -> None:
    assert (
        memory_need(GPU, Hints(), MemoryProfile(host=G, device=4 * G)).device
        == int(HEADROOM * 4 * G) + CUDA_CONTEXT_BYTES
    )
    assert memory_need(GPU, Hints(device_memory=2 * G), MemoryProfile(device=4 * G)).device == 2 * G


def test_the_first_load_gets_a_whole_gpu() -> None:
    assert memory_need(GPU, Hints(), MemoryProfile()).device == 16 * G


def test_a_version_that_ran_out_of_memory_gets_all_there_is() -> None:
    assert memory_need(HERE, Hints(), MemoryProfile(needs_all_devices=True)).host == 8 * G
    assert memory_need(GPU, Hints(), MemoryProfile(needs_all_devices=True)).needs_all_devices


def test_a_profile_survives_a_restart(tmp_path: Path) -> None:
    MemoryProfiles(tmp_path / "needs").update("a" * 64, host=5, largest_batch=4)
    assert MemoryProfiles(tmp_path / "needs").get("a" * 64) == MemoryProfile(host=5, largest_batch=4)


def test_an_unmeasured_version_is_estimated_from_the_others(tmp_path: Path) -> None:
    known = MemoryProfiles(tmp_path)
    assert known.estimate_unmeasured() == DEFAULT_BYTES
    for digit, size in zip("abc", (G, 3 * G, 9 * G), strict=True):
        known.update(digit * 64, host=size)
    assert known.estimate_unmeasured() == MemoryProfiles(tmp_path).estimate_unmeasured() == int(4.5 * G)


def test_an_unreadable_profile_is_empty(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 64}.json").write_text("{")
    assert MemoryProfiles(tmp_path).get("a" * 64) == MemoryProfile()


def test_hints_are_read_from_the_environment() -> None:
    declared = {"SAMOVAR_MEMORY": "2GB", "SAMOVAR_MIN_INSTANCES": "1", "SAMOVAR_IDLE_TIMEOUT": "2.5", "OTHER": "x"}
    assert parse_hints(declared) == Hints(memory=2 * G, min_instances=1, idle_timeout=2.5)


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
def test_an_invalid_hint_is_named(name: str, text: str) -> None:
    with pytest.raises(UnusableModel, match=f"cog.yaml: environment: {name}: '{text}'"):
        parse_hints({name: text})
