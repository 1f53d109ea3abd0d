"""The command `samovar runners`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import json
from rich.console import Console
from rich.live import Live

from deploy.cli.client.api import Api, connect
from deploy.cli.commands.options import LOCAL_URL, Json, Token, Url
from deploy.cli.terminal.fleet import format_lines, render_fleet
from deploy.cli.terminal.output import format_json, print_message


def runners(
    *,
    watch: Annotated[bool, Parameter(negative=())] = False,
    as_json: Json = False,
    url: Url = LOCAL_URL,
    token: Token = None,
) -> None:
    """Show the hosts that run models: memory, devices, loaded instances, and queues.

    In a pipe, print a line for each instance: host, model, version, state, devices, bytes, running, queued, idle
    seconds.

    Parameters
    ----------
    watch
        Show the runners again whenever they change; with --json, a line each time.
    """
    with connect(url, token) as api:
        if watch:
            _watch(api, as_json=as_json)
        else:
            _show(api.get("/v1/runners"), as_json=as_json)


def _show(fleet: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(format_json(fleet))
        return
    if sys.stdout.isatty():
        Console().print(render_fleet(fleet, datetime.now(UTC)))
    else:
        for line in format_lines(fleet, datetime.now(UTC)):
            print(line)
    if not fleet["runners"]:
        print_message("there is no runner; start one with `samovar runner`, or everything with `samovar up`")
    if pushes := fleet["pushes"]:
        print_message(f"{pushes} {'pushes wait' if pushes > 1 else 'push waits'} to be built, or are being built")


def _watch(api: Api, *, as_json: bool) -> None:
    """Show each change until an interrupt: in place on a terminal, followed by an empty line in a pipe."""
    if not as_json and sys.stdout.isatty():
        _draw(_stream_fleet(api))
        return
    for fleet in _stream_fleet(api):
        lines = [json.encode(fleet).decode()] if as_json else [*format_lines(fleet, datetime.now(UTC)), ""]
        print("\n".join(lines), flush=True)


def _draw(changes: Iterator[dict[str, Any]]) -> None:
    fleet = next(changes)
    # It is drawn every second, too: idle times grow without a change.
    with Live(get_renderable=lambda: render_fleet(fleet, datetime.now(UTC)), refresh_per_second=1, screen=True) as live:
        for fleet in changes:  # noqa: B007  it is what is drawn
            live.refresh()


def _stream_fleet(api: Api) -> Iterator[dict[str, Any]]:
    for event in api.stream_events("/v1/runners/events"):
        yield json.decode(event.data)
