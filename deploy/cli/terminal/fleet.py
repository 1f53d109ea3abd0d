"""The runners, their instances and the queues, as a drawing for a terminal and as lines for a pipe."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.cli.terminal.output import format_bytes, format_duration, render_table

BAR_WIDTH: Final = 24  # characters
VERSION_DIGITS: Final = 12  # on a terminal
INSTANCE_COLUMNS: Final = ("model", "version", "state", "device", "memory", "running", "queued", "idle for")
QUEUE_COLUMNS: Final = ("model", "version", "state", "queued")

Resource = Mapping[str, Any]
"""A part of the API's answer to `GET /v1/runners`."""


class Row(Struct, frozen=True, kw_only=True):
    """An instance, or a version that has jobs and no instance."""

    model: str
    version: str
    state: str
    device: str = ""
    memory: int | None = None
    """Bytes."""
    running: int | None = None
    queued: int
    """Jobs of the version: all its instances share one queue."""
    idle: float | None = None
    """Seconds."""


def format_lines(fleet: Resource, now: datetime) -> Iterator[str]:
    """Yield a line for each instance, then one without a host for each version that has jobs and no instance."""
    queued = _count_queued(fleet)
    for runner in fleet["runners"]:
        for instance in runner["instances"]:
            yield _format_line(runner["host"], _instance_row(instance, queued, now))
    for row in unserved_rows(fleet):
        yield _format_line("", row)


def render_fleet(fleet: Resource, now: datetime) -> Group:
    """Build a drawing with a block for each host, then the versions that no instance serves."""
    queued = _count_queued(fleet)
    blocks: list[RenderableType] = []
    for runner in fleet["runners"]:
        blocks.append(Text.assemble((runner["host"], "bold"), f"  {_describe_runner(runner)}"))
        if (resources := _render_resources(runner)).row_count:
            blocks.append(resources)
        if runner["instances"]:
            blocks += ["", _render_instances([_instance_row(each, queued, now) for each in runner["instances"]])]
        blocks.append("")
    if unserved := unserved_rows(fleet):
        rows = [(row.model, row.version[:VERSION_DIGITS], row.state, row.queued) for row in unserved]
        blocks += [Text("waiting, with no instance anywhere", "bold"), render_table(QUEUE_COLUMNS, rows)]
    return Group(*blocks)


def unserved_rows(fleet: Resource) -> list[Row]:
    """Return a row for each version that has jobs, and an instance on no runner."""
    served = {instance["version"] for runner in fleet["runners"] for instance in runner["instances"]}
    return [
        Row(model=queue["model"], version=queue["version"], state=_queue_state(queue), queued=_queued_jobs(queue))
        for queue in fleet["queues"]
        if queue["version"] not in served
    ]


def _queue_state(queue: Resource) -> str:
    return queue["starting"] or ("warm" if queue["warm"] else "cold")


def _instance_row(instance: Resource, queued: Mapping[str, int], now: datetime) -> Row:
    last_used = datetime.fromisoformat(instance["used_at"] or instance["since"])
    is_idle = instance["state"] != "starting" and not instance["running"]
    return Row(
        model=instance["model"],
        version=instance["version"],
        state=instance["phase"] or instance["state"],
        device=",".join(instance["devices"]),
        memory=instance["memory"],
        running=instance["running"],
        queued=queued.get(instance["version"], 0),
        idle=max((now - last_used).total_seconds(), 0.0) if is_idle else None,
    )


def _count_queued(fleet: Resource) -> Mapping[str, int]:
    queued = Counter[str]()
    for queue in fleet["queues"]:
        queued[queue["version"]] += _queued_jobs(queue)
    return queued


def _queued_jobs(queue: Resource) -> int:
    """Return the number of jobs that no runner has in hand; the two counts may be a moment apart."""
    return max(queue["jobs"] - queue["running"], 0)


def _format_line(host: str, row: Row) -> str:
    idle = None if row.idle is None else round(row.idle)
    # Exact numbers, as a program reads them.
    cells = (host, row.model, row.version, row.state, row.device, row.memory, row.running, row.queued, idle)
    return "\t".join("" if cell is None else str(cell) for cell in cells)


def _describe_runner(runner: Resource) -> str:
    pool = runner["pool"]
    return f"{runner['agent']}, pool {pool}" if runner["agent"] != runner["host"] else f"pool {pool}"


def _render_resources(runner: Resource) -> Table:
    """Build a bar for the host's memory and one for each device; a runner of an older version reports none."""
    table = Table.grid(padding=(0, 2))
    memory = runner["memory"]
    host = [("memory", "", memory["used"], memory["limit"], "")] if memory["limit"] else []
    devices = [
        (device["name"], _describe_device(device), device["planned"], device["memory"], " planned")
        for device in runner["devices"]
    ]
    for name, description, used, limit, suffix in [*host, *devices]:
        bar = ProgressBar(total=max(limit, 1), completed=min(used, limit), width=BAR_WIDTH)
        usage = f"{_percent(used, limit):>3} %  {format_bytes(used)} of {format_bytes(limit)}{suffix}"
        table.add_row(Text(name), bar, Text(usage), Text(description, "dim"))
    return table


def _describe_device(device: Resource) -> str:
    cores = device["cores"]
    return f"{device['kind']}, {cores} core{'s' if cores > 1 else ''}" if cores else device["kind"]


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0


def _render_instances(rows: Sequence[Row]) -> Table:
    return render_table(INSTANCE_COLUMNS, [_instance_cells(row) for row in rows])


def _instance_cells(row: Row) -> tuple[object, ...]:
    memory = format_bytes(row.memory) if row.memory else None
    idle = None if row.idle is None else format_duration(row.idle)
    return row.model, row.version[:VERSION_DIGITS], row.state, row.device, memory, row.running, row.queued, idle
