"""What is kept of a measurement is what was measured."""

import gzip
from pathlib import Path

import pytest

from benchmarks.samples import read_measurements, write_measurements
from tests.bench.synthetic import create_figure, create_repeats


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.jsonl.gz"])
def test_results_survive_a_round_trip(tmp_path: Path, name: str) -> None:
    measured = [
        *create_repeats(events=3, wrong=2, rate=20),
        create_figure("gateway idle", "MB", [91.0]),
        *create_repeats("other", rate=5),
    ]
    write_measurements(tmp_path / name, measured)
    assert list(read_measurements(tmp_path / name)) == measured


def test_a_file_is_compressed_if_its_name_ends_in_gz(tmp_path: Path) -> None:
    measured = create_repeats(count=1, rate=3)
    write_measurements(tmp_path / "a.jsonl", measured)
    write_measurements(tmp_path / "a.jsonl.gz", measured)
    text = (tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == text
    assert len(text.splitlines()) == 1 + len(measured[0].samples)


@pytest.mark.parametrize("broken", [b"[1,", b'{"repeat": {}}', b'[1,"soon"]'])
def test_a_broken_line_names_its_number(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "kept.jsonl"
    write_measurements(path, create_repeats(count=1, rate=50))
    lines = path.read_bytes().splitlines()
    lines[3] = broken
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match=r"kept.jsonl, line 4:"):
        list(read_measurements(path))


def test_a_sample_needs_a_repeat(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b"[1,2]\n")
    with pytest.raises(ValueError, match="line 1: a sample before any repeat"):
        list(read_measurements(path))
