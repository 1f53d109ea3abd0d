"""The runners and what waits for them, as clients see them: which models are where, and for which there are jobs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, structs

from gateway.times import rfc3339
from schemas import subjects
from schemas.models import Presence, Resident


class MemoryView(Struct, kw_only=True):
    limit: int
    used: int


class DeviceView(Struct, kw_only=True):
    name: str
    kind: str
    memory: int
    planned: int
    cores: int


class InstanceView(Struct, kw_only=True):
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
    agent: str
    host: str
    pool: str
    memory: MemoryView
    devices: list[DeviceView]
    instances: list[InstanceView]
    counts: dict[str, int]


class QueueView(Struct, kw_only=True):
    model: str
    version: str
    pool: str
    jobs: int
    """All that are not settled: those that wait, and those in hand."""
    running: int
    """Of these, as far as runners have said."""
    warm: bool
    starting: str | None


class Overview(Struct, kw_only=True):
    runners: list[RunnerView]
    queues: list[QueueView]
    pushes: int
    """That wait to be built, or are being built."""


class Fleet(Protocol):
    def present(self) -> list[Presence]: ...
    def warm(self, service: str) -> bool: ...
    def starting(self, service: str) -> str | None: ...


def overview(fleet: Fleet, depths: Mapping[str, int]) -> Overview:
    """`depths` is how many jobs there are, by subject."""
    present = fleet.present()
    jobs = Counter[subjects.Queue]()
    for subject, count in depths.items():
        if (queue := subjects.queue_of(subject)) is not None:
            jobs[queue] += count
    return Overview(
        runners=[_runner(presence) for presence in present],
        queues=_queues(jobs, fleet, _running(present)),
        pushes=sum(count for queue, count in jobs.items() if queue.version == subjects.BUILD),
    )


def models(seen: Overview) -> set[str]:
    """owner/name of all that are in it."""
    return {each.model for runner in seen.runners for each in runner.instances} | {each.model for each in seen.queues}


def without(seen: Overview, hidden: set[str]) -> Overview:
    """The same, with nothing of these models; what they use of memory and devices still counts."""
    runners = [
        structs.replace(runner, instances=[each for each in runner.instances if each.model not in hidden])
        for runner in seen.runners
    ]
    queues = [each for each in seen.queues if each.model not in hidden]
    return structs.replace(seen, runners=runners, queues=queues)


def _queues(jobs: Mapping[subjects.Queue, int], fleet: Fleet, running: Mapping[str, int]) -> list[QueueView]:
    return [
        QueueView(
            model=queue.model,
            version=queue.version,
            pool=queue.pool,
            jobs=count,
            running=running.get(subjects.service(queue.pool, queue.version), 0),
            warm=fleet.warm(subjects.service(queue.pool, queue.version)),
            starting=fleet.starting(subjects.service(queue.pool, queue.version)),
        )
        for queue, count in sorted(jobs.items(), key=lambda item: (item[0].model, item[0].version, item[0].pool))
        if queue.version not in {subjects.BUILD, subjects.TRAIN}
    ]


def _running(present: Iterable[Presence]) -> Mapping[str, int]:
    running = Counter[str]()
    for presence in present:
        for resident in presence.residents:
            running[subjects.service(resident.release or presence.pool, resident.version)] += resident.running
    return running


def _runner(presence: Presence) -> RunnerView:
    return RunnerView(
        agent=presence.agent,
        host=presence.host,
        pool=presence.pool,
        memory=MemoryView(limit=presence.memory, used=presence.used),
        devices=[
            DeviceView(name=each.name, kind=each.kind, memory=each.memory, planned=each.planned, cores=each.cores)
            for each in presence.devices
        ],
        instances=_instances(presence.residents),
        counts=presence.counts,
    )


def _instances(residents: Sequence[Resident]) -> list[InstanceView]:
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
            since=rfc3339(each.since),
            used_at=rfc3339(each.used_at) if each.used_at else None,
        )
        for each in sorted(residents, key=lambda each: (each.model, each.version, each.number))
    ]
