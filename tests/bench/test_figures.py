"""Percentiles, rates and costs, against what numpy and plain sums say."""

import statistics

import numpy as np
import pytest
from msgspec import structs

from benchmarks.figures import (
    CPU,
    TAIL,
    figures,
    is_speed,
    measurements,
    median,
    merged,
    more_is_better,
    spread,
    values_at,
)
from benchmarks.samples import Repeat
from tests.bench.made import figure, repeats


def right(repeat: Repeat) -> list[int]:
    return [sample.latency for sample in repeat.samples if sample.error is None]


def test_percentiles_are_those_of_the_samples() -> None:
    (one,) = repeats(rate=20_000, count=1)
    found = figures(one)
    for name, share in {"p50 ms": 0.5, "p90 ms": 0.9, "p99 ms": 0.99, "p99.9 ms": 0.999}.items():
        exact = float(np.quantile(right(one), share, method="inverted_cdf")) / 1000
        assert found[name] == pytest.approx(exact, rel=0.002)
    assert found["max ms"] == max(right(one)) / 1000


def test_wrong_answers_are_counted_and_their_latencies_left_out() -> None:
    (good,) = repeats(count=1)
    slow = [structs.replace(sample, latency=9_000_000, error="500") for sample in good.samples[:50]]
    bad = structs.replace(good, samples=[*good.samples, *slow])
    assert figures(bad) == figures(good) | {"wrong": 50.0}


def test_where_every_answer_is_wrong_there_is_no_latency() -> None:
    (one,) = repeats(count=1, rate=10, wrong=1000)
    assert figures(one) == {"requests/s": 0.0, "wrong": float(len(one.samples))}
    assert figures(structs.replace(one, samples=[])) == {"requests/s": 0.0, "wrong": 0.0}


def test_events_have_a_rate_a_first_and_gaps() -> None:
    (one,) = repeats(count=1, rate=50, events=11, protocol="stream")
    found = figures(one)
    assert found["events/s"] == len(one.samples) * 11
    firsts = [sample.first for sample in one.samples if sample.first is not None]
    assert found["first p50 ms"] == pytest.approx(statistics.median_low(firsts) / 1000, rel=0.002)
    assert 0.4 <= found["gap p50 ms"] <= found["gap p99 ms"] <= 0.6


def test_a_request_of_more_than_an_hour_is_not_lost() -> None:
    (one,) = repeats(count=1, rate=1)
    long = structs.replace(one, samples=[structs.replace(one.samples[0], latency=10**11)])
    assert figures(long)["p50 ms"] == pytest.approx(3_600_000, rel=0.002)
    assert figures(long)["max ms"] == 10**8


def test_median_and_spread_are_over_the_repeats() -> None:
    several = repeats(count=4)
    each = [figures(one)["p99 ms"] for one in several]
    assert median(several, "p99 ms") == statistics.median(each)
    assert spread(several, "p99 ms") == (min(each), max(each))
    with pytest.raises(KeyError):
        median(several, "events/s")


def test_merged_repeats_are_one_draw() -> None:
    several = repeats(rate=2000)
    everything = [latency for one in several for latency in right(one)]
    (found,) = values_at(merged(several), [90.0])
    assert found == pytest.approx(np.quantile(everything, 0.9), rel=0.005)


def test_a_measurement_is_a_name_and_a_target() -> None:
    idle = figure("gateway idle", "MB", [90.0, 92.0])
    share = figure("gateway idle", "% of a core", [0.3])
    found = measurements([*repeats(), idle, *repeats(target="mosec"), share, *repeats()])
    assert [(one.name, one.target, len(one.repeats)) for one in found] == [
        ("no-op, 32 clients", "samovar", 10),
        ("gateway idle", "samovar", 0),
        ("no-op, 32 clients", "mosec", 5),
    ]
    assert found[1].values == {"MB": [90.0, 92.0], "% of a core": [0.3]}


def test_cpu_per_request_leaves_the_load_generator_out() -> None:
    (one,) = repeats(count=1)
    (found,) = measurements([one])
    assert found.values[CPU] == [pytest.approx(0.3 / len(one.samples) * 1e6)]
    assert found.values[TAIL][0] == found.values["p99 ms"][0] / found.values["p50 ms"][0]


@pytest.mark.parametrize(
    ("name", "more", "speed"),
    [
        ("p50 ms", False, True),
        ("ms, p99", False, True),
        ("s", False, True),
        ("requests/s", True, True),
        ("texts/s, batches of 32", True, True),
        ("streams", True, False),
        ("MB", False, False),
        ("% of a core", False, False),
        ("create latency ratio", False, False),
    ],
)
def test_a_name_tells_which_way_is_better(name: str, more: bool, speed: bool) -> None:
    assert (more_is_better(name), is_speed(name)) == (more, speed)
