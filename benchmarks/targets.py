"""Who is measured: where it listens, and what it tells of itself."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from benchmarks import processes
from benchmarks.stack import started

STAGE: Final = re.compile(r'^samovar_stage_seconds_(count|sum)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


class Target(Struct, frozen=True):
    """A server, of whichever make."""

    name: str
    """samovar, litserve, …"""
    url: str
    token: str | None = None
    pid: int | None = None
    """The root of its processes; none if they are not ours to look at."""


@contextmanager
def samovar(*, models: Sequence[Path] = (), environ: Mapping[str, str] = {}, gateways: int = 1) -> Generator[Target]:
    """A stack of its own, started by `samovar up`, with these Cog folders beside the bundled models."""
    name = "samovar" if gateways == 1 else f"samovar, {gateways} gateways"
    with started(models=models, environ={**environ, "SAMOVAR_GATEWAYS": str(gateways)}) as stack:
        yield Target(name, stack.url, stack.token, stack.up.pid)


def cpu(target: Target) -> dict[str, float]:
    """Seconds of CPU by kind of process; nothing for a target whose processes are not ours to look at."""
    if target.pid is None:
        return {}
    if _is_ours(target):
        return processes.cpu(target.pid)
    return {"server": processes.cpu_of_all(target.pid)}


def stages(target: Target) -> dict[str, tuple[float, float]]:
    """How many predictions went through each stage, and the sum of their seconds; nothing if it does not tell."""
    if not _is_ours(target):
        return {}
    try:
        told = httpx.get(target.url.rstrip("/") + "/metrics", timeout=5)
    except httpx.HTTPError:
        return {}
    found: dict[str, dict[str, float]] = {}
    for what, stage, value in STAGE.findall(told.text if told.is_success else ""):
        found.setdefault(stage, {})[what] = float(value)
    return {stage: (both.get("count", 0.0), both.get("sum", 0.0)) for stage, both in found.items()}


def _is_ours(target: Target) -> bool:
    return target.name.startswith("samovar")
