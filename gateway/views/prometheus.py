"""The fleet as Prometheus' metrics, made for each scrape from the last heartbeats."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.views.fleet import Overview, RunnerView


class MetricSnapshot(Collector):
    """A collector of metrics that were made before."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the metric families of the snapshot."""
        return self._families


def runner_metrics(overview: Overview) -> Iterator[Metric]:
    """Yield the metrics of runners and their instances."""
    yield GaugeMetricFamily("samovar_runners", "Runners heard of lately.", value=len(overview.runners))
    yield _instances(overview.runners)
    yield _running(overview.runners)
    yield _memory(overview.runners)
    yield _device_memory(overview.runners)
    yield _changes(overview.runners)


def queue_metrics(overview: Overview) -> Iterator[Metric]:
    """Yield the metrics of queues, which are the same at every gateway."""
    jobs = Counter({each.model: 0 for runner in overview.runners for each in runner.instances})
    for queue in overview.queues:
        jobs[queue.model] += queue.jobs
    depth = GaugeMetricFamily("samovar_queue_depth", "Jobs that wait or are in hand.", labels=["model"])
    for model, count in sorted(jobs.items()):
        depth.add_metric([model], count)
    yield depth
    yield GaugeMetricFamily("samovar_pushes_pending", "Pushes that wait or are being built.", value=overview.pushes)


def _instances(runners: Iterable[RunnerView]) -> Metric:
    family = GaugeMetricFamily(
        "samovar_instances", "Instances of models, by state.", labels=["agent", "model", "state"]
    )
    for runner in runners:
        counted = Counter((each.model, each.state) for each in runner.instances)
        for (model, state), count in counted.items():
            family.add_metric([runner.agent, model, state], count)
    return family


def _running(runners: Iterable[RunnerView]) -> Metric:
    family = GaugeMetricFamily("samovar_jobs_running", "Jobs in models.", labels=["agent", "model"])
    for runner in runners:
        jobs = Counter[str]()
        for each in runner.instances:
            jobs[each.model] += each.running
        for model, count in jobs.items():
            family.add_metric([runner.agent, model], count)
    return family


def _memory(runners: Iterable[RunnerView]) -> Metric:
    family = GaugeMetricFamily(
        "samovar_runner_memory_bytes", "Of a host, for models: the limit, and used.", labels=["agent", "kind"]
    )
    for runner in runners:
        family.add_metric([runner.agent, "limit"], runner.memory.limit)
        family.add_metric([runner.agent, "used"], runner.memory.used)
    return family


def _device_memory(runners: Iterable[RunnerView]) -> Metric:
    family = GaugeMetricFamily(
        "samovar_device_memory_bytes",
        "Of a device, for models: the limit, and what was given to those that are hot.",
        labels=["agent", "device", "kind"],
    )
    for runner in runners:
        for device in runner.devices:
            family.add_metric([runner.agent, device.name, "limit"], device.memory)
            family.add_metric([runner.agent, device.name, "planned"], device.planned)
    return family


def _changes(runners: Iterable[RunnerView]) -> Metric:
    """Return the counters of a runner; they begin at 0 when it restarts, as counters do."""
    family = CounterMetricFamily(
        "samovar_runner_changes",
        "Loads, parks, evictions and the like, since a runner began.",
        labels=["agent", "kind"],
    )
    for runner in runners:
        for kind, count in runner.counts.items():
            family.add_metric([runner.agent, kind], count)
    return family
