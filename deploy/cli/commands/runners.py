"""`samovar runners`: hosts, which models are hot on them, and what waits."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct, json
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.cli.client.api import Api
from deploy.cli.terminal.output import amount, drawn, lasting, pretty

BAR: Final = 24  # characters
DIGITS: Final = 12  # of a version, as people see it

Json = Mapping[str, Any]
"""As the API tells it."""


class Row(Struct, frozen=True, kw_only=True):
    """An instance; or a version that has none, and jobs."""

    model: str
    version: str
    state: str
    device: str = ""
    memory: int | None = None
    running: int | None = None
    queued: int
    """Of its version: all its instances take from one queue."""
    idle: float | None = None
    """Seconds."""


def show_runners(api: Api, *, as_json: bool) -> None:
    found = api.get("/v1/runners")
    if as_json:
        print(pretty(found))
        return
    if sys.stdout.isatty():
        Console().print(drawing(found, datetime.now(UTC)))
    else:
        for line in lines(found, datetime.now(UTC)):
            print(line)
    if not found["runners"]:
        _say("no runner is there; `samovar runner` starts one, and `samovar up` all there is")
    if pushes := found["pushes"]:
        _say(f"{pushes} {'pushes wait' if pushes > 1 else 'push waits'} to be built, or are in hand")


def watch_runners(api: Api, *, as_json: bool) -> None:
    """Until an interrupt: on a terminal in place, in a pipe one after another, with an empty line after each."""
    if not as_json and sys.stdout.isatty():
        _draw_each(_views(api))
        return
    for found in _views(api):
        told = [json.encode(found).decode()] if as_json else [*lines(found, datetime.now(UTC)), ""]
        print("\n".join(told), flush=True)


def _draw_each(views: Iterator[Json]) -> None:
    """Anew every second, too: how long something has been idle changes while nobody says anything."""
    found = next(views)
    with Live(get_renderable=lambda: drawing(found, datetime.now(UTC)), refresh_per_second=1, screen=True) as live:
        for found in views:  # noqa: B007  it is what is drawn
            live.refresh()


def _views(api: Api) -> Iterator[Json]:
    for event in api.events("/v1/runners/events"):
        yield json.decode(event.data)


def lines(found: Json, now: datetime) -> Iterator[str]:
    """One for each instance, then one for each queue of a version that has none: then there is no host."""
    queued = _queued(found)
    for runner in found["runners"]:
        for each in runner["instances"]:
            yield _line(runner["host"], _instance(each, queued, now))
    for row in unserved(found):
        yield _line("", row)


def drawing(found: Json, now: datetime) -> Group:
    """A block for each host, then what is served by none."""
    queued = _queued(found)
    shown: list[RenderableType] = []
    for runner in found["runners"]:
        shown.append(Text.assemble((runner["host"], "bold"), f"  {_about(runner)}"))
        if (resources := _resources(runner)).row_count:
            shown.append(resources)
        if runner["instances"]:
            shown += ["", _instances([_instance(each, queued, now) for each in runner["instances"]])]
        shown.append("")
    if waiting := unserved(found):
        columns = ("model", "version", "state", "queued")
        rows = [(row.model, row.version[:DIGITS], row.state, row.queued) for row in waiting]
        shown += [Text("waiting, with no instance anywhere", "bold"), drawn(columns, rows)]
    return Group(*shown)


def unserved(found: Json) -> list[Row]:
    """Versions with jobs that no runner tells an instance of."""
    served = {each["version"] for runner in found["runners"] for each in runner["instances"]}
    return [
        Row(model=queue["model"], version=queue["version"], state=_state(queue), queued=_waiting(queue))
        for queue in found["queues"]
        if queue["version"] not in served
    ]


def _state(queue: Json) -> str:
    return queue["starting"] or ("warm" if queue["warm"] else "cold")


def _instance(each: Json, queued: Mapping[str, int], now: datetime) -> Row:
    used = datetime.fromisoformat(each["used_at"] or each["since"])
    resting = each["state"] != "starting" and not each["running"]
    return Row(
        model=each["model"],
        version=each["version"],
        state=each["phase"] or each["state"],
        device=",".join(each["devices"]),
        memory=each["memory"],
        running=each["running"],
        queued=queued.get(each["version"], 0),
        idle=max((now - used).total_seconds(), 0.0) if resting else None,
    )


def _queued(found: Json) -> Mapping[str, int]:
    queued = Counter[str]()
    for queue in found["queues"]:
        queued[queue["version"]] += _waiting(queue)
    return queued


def _waiting(queue: Json) -> int:
    """Not in hand; what runs may have been told of a moment later than what is settled."""
    return max(queue["jobs"] - queue["running"], 0)


def _line(host: str, row: Row) -> str:
    """Exact, as a program reads it."""
    idle = None if row.idle is None else round(row.idle)
    cells = (host, row.model, row.version, row.state, row.device, row.memory, row.running, row.queued, idle)
    return "\t".join("" if cell is None else str(cell) for cell in cells)


def _about(runner: Json) -> str:
    pool = runner["pool"]
    return f"{runner['agent']}, pool {pool}" if runner["agent"] != runner["host"] else f"pool {pool}"


def _resources(runner: Json) -> Table:
    """A bar for the host's memory, and one for each device; a runner of an older version tells of none."""
    shown = Table.grid(padding=(0, 2))
    memory = runner["memory"]
    used = [("memory", "", memory["used"], memory["limit"], "")] if memory["limit"] else []
    planned = [(each["name"], _kind(each), each["planned"], each["memory"], " planned") for each in runner["devices"]]
    for name, kind, taken, limit, what in [*used, *planned]:
        bar = ProgressBar(total=max(limit, 1), completed=min(taken, limit), width=BAR)
        told = f"{_percent(taken, limit):>3} %  {amount(taken)} of {amount(limit)}{what}"
        shown.add_row(Text(name), bar, Text(told), Text(kind, "dim"))
    return shown


def _kind(device: Json) -> str:
    cores = device["cores"]
    return f"{device['kind']}, {cores} core{'s' if cores > 1 else ''}" if cores else device["kind"]


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0


def _instances(rows: Sequence[Row]) -> Table:
    columns = ("model", "version", "state", "device", "memory", "running", "queued", "idle for")
    return drawn(columns, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[object, ...]:
    memory = amount(row.memory) if row.memory else None
    idle = None if row.idle is None else lasting(row.idle)
    return row.model, row.version[:DIGITS], row.state, row.device, memory, row.running, row.queued, idle


def _say(text: str) -> None:
    print(f"samovar: {text}", file=sys.stderr, flush=True)
