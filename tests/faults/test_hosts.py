"""Two hosts that load cold versions without a word to each other, and one that dies."""

from pathlib import Path

import pytest

from tests.faults import hosts
from tests.faults.hosts import Span, count_double_loads, read_spans


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_fifty_cold_versions_on_two_hosts_one_of_which_dies(tmp_path: Path) -> None:
    report = await hosts.run(tmp_path)
    print(report)
    assert (report.wrong, report.double_loads) == ([], [])
    assert all(report.loads.values()), "both had work"


def span(host: str, started_at: float, ended_at: float, model: str = "m") -> Span:
    return Span(host=host, model=model, started_at=started_at, ended_at=ended_at)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([span("a", 0, 5), span("b", 3, 9)], {"m": 1}, id="beside each other"),
        pytest.param([span("a", 0, 5), span("b", 5, 9)], {}, id="one after the other"),
        pytest.param([span("a", 0, 5), span("a", 3, 9)], {}, id="a host's own affair"),
        pytest.param([span("a", 0, 5), span("b", 3, 9, "n")], {}, id="another version"),
    ],
)
def test_a_load_without_need_is_reported(spans: list[Span], expected: dict[str, int]) -> None:
    assert count_double_loads(spans) == expected


def test_an_instance_is_there_until_it_has_to_go_or_its_host_dies() -> None:
    lines = [
        {"event": "loading", "model": "m", "at": 1.0},
        {"event": "loaded", "model": "m", "at": 2.0},
        {"event": "evicting", "model": "m", "at": 3.0},
        {"event": "evicted", "model": "m", "at": 4.0},
        {"event": "loading", "model": "m", "at": 6.0},
    ]
    assert list(read_spans("a", lines, end=9.0)) == [span("a", 1.0, 3.0), span("a", 6.0, 9.0)]
