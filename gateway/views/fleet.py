"""The fleet as the API shows it: runners with their instances, and the queues of jobs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, structs

from gateway.times import format_rfc3339
from schemas import subjects
from schemas.models import Heartbeat, InstanceStatus


class MemoryView(Struct, kw_only=True):
    """Memory of a host that models may use, and what they use, in bytes."""

    limit: int
    used: int


class DeviceView(Struct, kw_only=True):
    """A device of a runner; memory in bytes."""

    name: str
    kind: str
    memory: int
    planned: int
    cores: int


class InstanceView(Struct, kw_only=True):
    """An instance of a version on a runner."""

    model: str
    version: str
    number: int
    state: str
    phase: str | None
    devices: list[str]
    memory: int
    running: int
    since: str
    used_at: str | None


class RunnerView(Struct, kw_only=True):
    """A runner with its devices and instances."""

    agent: str
    host: str
    pool: str
    memory: MemoryView
    devices: list[DeviceView]
    instances: list[InstanceView]
    counts: dict[str, int]


class QueueView(Struct, kw_only=True):
    """A queue of jobs for one version."""

    model: str
    version: str
    pool: str
    jobs: int
    """All jobs that are not acknowledged: those that wait, and those in hand."""
    running: int
    """Jobs of these that run, by the last heartbeats."""
    warm: bool
    starting: str | None


class Overview(Struct, kw_only=True):
    """The overview of all runners and queues."""

    runners: list[RunnerView]
    queues: list[QueueView]
    pushes: int
    """Pushes that wait to be built, or are being built."""


class FleetStatus(Protocol):
    """The registry of runners, as far as the overview reads it."""

    def list_runners(self) -> list[Heartbeat]: ...
    def is_warm(self, service: str) -> bool: ...
    def starting_phase(self, service: str) -> str | None: ...


def build_overview(fleet: FleetStatus, depths: Mapping[str, int]) -> Overview:
    """Build the overview of all runners and queues; `depths` is how many jobs each subject has."""
    heartbeats = fleet.list_runners()
    jobs = Counter[subjects.Queue]()
    for subject, count in depths.items():
        if (queue := subjects.queue_of(subject)) is not None:
            jobs[queue] += count
    return Overview(
        runners=[_runner_view(heartbeat) for heartbeat in heartbeats],
        queues=_queue_views(jobs, fleet, _count_running(heartbeats)),
        pushes=sum(count for queue, count in jobs.items() if queue.version == subjects.BUILD),
    )


def model_names(overview: Overview) -> set[str]:
    """Return the names, as `owner/name`, of all models in an overview."""
    return {each.model for runner in overview.runners for each in runner.instances} | {
        each.model for each in overview.queues
    }


def hide_models(overview: Overview, hidden: set[str]) -> Overview:
    """Return an overview without these models. The memory and devices that they use still count."""
    runners = [
        structs.replace(runner, instances=[each for each in runner.instances if each.model not in hidden])
        for runner in overview.runners
    ]
    queues = [each for each in overview.queues if each.model not in hidden]
    return structs.replace(overview, runners=runners, queues=queues)


def _queue_views(jobs: Mapping[subjects.Queue, int], fleet: FleetStatus, running: Mapping[str, int]) -> list[QueueView]:
    return [
        QueueView(
            model=queue.model,
            version=queue.version,
            pool=queue.pool,
            jobs=count,
            running=running.get(subjects.service(queue.pool, queue.version), 0),
            warm=fleet.is_warm(subjects.service(queue.pool, queue.version)),
            starting=fleet.starting_phase(subjects.service(queue.pool, queue.version)),
        )
        for queue, count in sorted(jobs.items(), key=lambda item: (item[0].model, item[0].version, item[0].pool))
        if queue.version not in {subjects.BUILD, subjects.TRAIN}
    ]


def _count_running(heartbeats: Iterable[Heartbeat]) -> Mapping[str, int]:
    running = Counter[str]()
    for heartbeat in heartbeats:
        for instance in heartbeat.residents:
            running[subjects.service(instance.release or heartbeat.pool, instance.version)] += instance.running
    return running


def _runner_view(heartbeat: Heartbeat) -> RunnerView:
    return RunnerView(
        agent=heartbeat.agent,
        host=heartbeat.host,
        pool=heartbeat.pool,
        memory=MemoryView(limit=heartbeat.memory, used=heartbeat.used),
        devices=[
            DeviceView(name=each.name, kind=each.kind, memory=each.memory, planned=each.planned, cores=each.cores)
            for each in heartbeat.devices
        ],
        instances=_instance_views(heartbeat.residents),
        counts=heartbeat.counts,
    )


def _instance_views(instances: Sequence[InstanceStatus]) -> list[InstanceView]:
    return [
        InstanceView(
            model=each.model,
            version=each.version,
            number=each.number,
            state=each.state,
            phase=each.phase,
            devices=each.devices,
            memory=each.memory,
            running=each.running,
            since=format_rfc3339(each.since),
            used_at=format_rfc3339(each.used_at) if each.used_at else None,
        )
        for each in sorted(instances, key=lambda each: (each.model, each.version, each.number))
    ]
