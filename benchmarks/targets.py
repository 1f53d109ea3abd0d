"""Targets: the servers that are measured, and what they report of themselves."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from benchmarks import processes
from benchmarks.stack import started_stack

STAGE_METRIC: Final = re.compile(r'^samovar_stage_seconds_(count|sum)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


class Target(Struct, frozen=True):
    """A server of any make."""

    name: str
    """samovar, litserve, …"""
    url: str
    token: str | None = None
    pid: int | None = None
    """The root of its processes; None if they are on another machine."""


@contextmanager
def start_samovar(
    *, models: Sequence[Path] = (), environ: Mapping[str, str] = {}, gateways: int = 1
) -> Generator[Target]:
    """Run a stack for the block, with these Cog folders beside the bundled models."""
    name = "samovar" if gateways == 1 else f"samovar, {gateways} gateways"
    with started_stack(models=models, environ={**environ, "SAMOVAR_GATEWAYS": str(gateways)}) as stack:
        yield Target(name, stack.url, stack.token, stack.up.pid)


def read_cpu(target: Target) -> dict[str, float]:
    """Return the seconds of CPU by kind of process; nothing for a target on another machine."""
    if target.pid is None:
        return {}
    if _is_ours(target):
        return processes.cpu_seconds(target.pid)
    return {"server": processes.total_cpu_seconds(target.pid)}


def read_stages(target: Target) -> dict[str, tuple[float, float]]:
    """Return for each stage how many predictions went through it, and their seconds in all.

    Nothing for a target that does not report them.
    """
    if not _is_ours(target):
        return {}
    try:
        response = httpx.get(target.url.rstrip("/") + "/metrics", timeout=5)
    except httpx.HTTPError:
        return {}
    by_stage: dict[str, dict[str, float]] = {}
    for kind, stage, value in STAGE_METRIC.findall(response.text if response.is_success else ""):
        by_stage.setdefault(stage, {})[kind] = float(value)
    return {stage: (values.get("count", 0.0), values.get("sum", 0.0)) for stage, values in by_stage.items()}


def _is_ours(target: Target) -> bool:
    return target.name.startswith("samovar")
