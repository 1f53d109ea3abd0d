"""Percentiles, rates and costs, against what numpy and plain sums say."""

import statistics

import numpy as np
import pytest
from msgspec import structs

from benchmarks.figures import (
    CPU_FIGURE,
    TAIL_FIGURE,
    compute_figures,
    figure_range,
    group_measurements,
    is_more_better,
    is_speed,
    median_figure,
    merged_histogram,
    percentile_values,
)
from benchmarks.samples import Repeat
from tests.bench.synthetic import create_figure, create_repeats


def right_latencies(repeat: Repeat) -> list[int]:
    return [sample.latency for sample in repeat.samples if sample.error is None]


def test_percentiles_are_those_of_the_samples() -> None:
    (one,) = create_repeats(rate=20_000, count=1)
    values = compute_figures(one)
    for name, share in {"p50 ms": 0.5, "p90 ms": 0.9, "p99 ms": 0.99, "p99.9 ms": 0.999}.items():
        exact = float(np.quantile(right_latencies(one), share, method="inverted_cdf")) / 1000
        assert values[name] == pytest.approx(exact, rel=0.002)
    assert values["max ms"] == max(right_latencies(one)) / 1000


def test_wrong_answers_are_counted_and_their_latencies_left_out() -> None:
    (good,) = create_repeats(count=1)
    slow = [structs.replace(sample, latency=9_000_000, error="500") for sample in good.samples[:50]]
    bad = structs.replace(good, samples=[*good.samples, *slow])
    assert compute_figures(bad) == compute_figures(good) | {"wrong": 50.0}


def test_a_repeat_of_wrong_answers_has_no_latency() -> None:
    (one,) = create_repeats(count=1, rate=10, wrong=1000)
    assert compute_figures(one) == {"requests/s": 0.0, "wrong": float(len(one.samples))}
    assert compute_figures(structs.replace(one, samples=[])) == {"requests/s": 0.0, "wrong": 0.0}


def test_events_have_a_rate_a_first_and_gaps() -> None:
    (one,) = create_repeats(count=1, rate=50, events=11, protocol="stream")
    values = compute_figures(one)
    assert values["events/s"] == len(one.samples) * 11
    firsts = [sample.first for sample in one.samples if sample.first is not None]
    assert values["first p50 ms"] == pytest.approx(statistics.median_low(firsts) / 1000, rel=0.002)
    assert 0.4 <= values["gap p50 ms"] <= values["gap p99 ms"] <= 0.6


def test_a_request_of_more_than_an_hour_is_not_lost() -> None:
    (one,) = create_repeats(count=1, rate=1)
    long = structs.replace(one, samples=[structs.replace(one.samples[0], latency=10**11)])
    assert compute_figures(long)["p50 ms"] == pytest.approx(3_600_000, rel=0.002)
    assert compute_figures(long)["max ms"] == 10**8


def test_median_and_spread_are_over_the_repeats() -> None:
    several = create_repeats(count=4)
    each = [compute_figures(one)["p99 ms"] for one in several]
    assert median_figure(several, "p99 ms") == statistics.median(each)
    assert figure_range(several, "p99 ms") == (min(each), max(each))
    with pytest.raises(KeyError):
        median_figure(several, "events/s")


def test_merged_repeats_are_one_histogram() -> None:
    several = create_repeats(rate=2000)
    everything = [latency for one in several for latency in right_latencies(one)]
    (values,) = percentile_values(merged_histogram(several), [90.0])
    assert values == pytest.approx(np.quantile(everything, 0.9), rel=0.005)


def test_a_measurement_is_a_name_and_a_target() -> None:
    idle = create_figure("gateway idle", "MB", [90.0, 92.0])
    share = create_figure("gateway idle", "% of a core", [0.3])
    values = group_measurements([*create_repeats(), idle, *create_repeats(target="mosec"), share, *create_repeats()])
    assert [(one.name, one.target, len(one.repeats)) for one in values] == [
        ("no-op, 32 clients", "samovar", 10),
        ("gateway idle", "samovar", 0),
        ("no-op, 32 clients", "mosec", 5),
    ]
    assert values[1].values == {"MB": [90.0, 92.0], "% of a core": [0.3]}


def test_cpu_per_request_leaves_the_load_generator_out() -> None:
    (one,) = create_repeats(count=1)
    (values,) = group_measurements([one])
    assert values.values[CPU_FIGURE] == [pytest.approx(0.3 / len(one.samples) * 1e6)]
    assert values.values[TAIL_FIGURE][0] == values.values["p99 ms"][0] / values.values["p50 ms"][0]


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
def test_a_figures_name_says_which_way_is_better(name: str, more: bool, speed: bool) -> None:
    assert (is_more_better(name), is_speed(name)) == (more, speed)
