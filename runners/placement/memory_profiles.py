"""What an instance of a version needs: as its model says, else as it was measured, else as one would guess."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import structlog
from msgspec import DecodeError, Struct, json, structs

from runners import units
from runners.errors import NotOffered
from runners.placement.planner import CPU, Host, Need

log = structlog.stdlib.get_logger()

GUESS: Final = 1_000_000_000  # bytes, for a version that nobody has measured, where nothing else was either
LIKE: Final = 1.5  # times what others take by the median, where some were
SPARE: Final = 1.1  # of what was measured: no two runs are alike
CONTEXT: Final = 600_000_000  # bytes that a process takes of a GPU before the first tensor
FOLDER: Final = "needs"


class Hints(Struct, frozen=True, kw_only=True):
    """What a model says of itself, in the `environment` of its cog.yaml."""

    memory: int | None = None
    device_memory: int | None = None
    min_instances: int = 0
    max_instances: int | None = None
    idle_timeout: float | None = None


class Measured(Struct, frozen=True, kw_only=True, omit_defaults=True):
    host: int = 0
    """Resident bytes of its processes, the most of them."""
    device: int = 0
    """Bytes of a GPU."""
    load_seconds: float = 0.0
    fits: int | None = None
    """The largest batch that did not run out of memory."""
    whole: bool = False
    """It could not be set up on one device."""


class Needs:
    """What was measured, by version; kept in a folder, as it is true after a restart too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Measured] = {file.stem: self._read(file.stem) for file in folder.glob("*.json")}

    def guess(self) -> int:
        """Bytes, for a version that nobody has measured: models of one house are alike."""
        seen = [measured.host for measured in self._known.values() if measured.host]
        return int(LIKE * median(seen)) if seen else GUESS

    def of(self, version: str) -> Measured:
        if version not in self._known:
            self._known[version] = self._read(version)
        return self._known[version]

    def learn(self, version: str, **news: Any) -> None:
        known = self.of(version)
        learnt = structs.replace(known, **news)
        if learnt == known:
            return
        self._known[version] = learnt
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            new = self._file(version).with_suffix(".new")
            new.write_bytes(json.encode(learnt))
            new.replace(self._file(version))
        except OSError as error:
            log.warning("cannot write to the cache", file=str(self._file(version)), reason=str(error))

    def _file(self, version: str) -> Path:
        return self._folder / f"{version}.json"

    def _read(self, version: str) -> Measured:
        try:
            return json.decode(self._file(version).read_bytes(), type=Measured)
        except (OSError, DecodeError):
            return Measured()


def need(host: Host, hints: Hints, measured: Measured, guess: int = GUESS) -> Need:
    """Never more than there is: what asks for more gets all, and what is too large goes to disk."""
    guess = host.memory if measured.whole else guess
    memory = min(hints.memory or int(measured.host * SPARE) or guess, host.memory)
    if host.kind == CPU:
        largest = max(device.memory for device in host.devices)
        return Need(host=memory, device=min(hints.device_memory or memory, largest))
    device = hints.device_memory or (int(measured.device * SPARE) + CONTEXT if measured.device else 0)
    return Need(host=memory, device=device or max(each.memory for each in host.devices), whole=measured.whole)


def hints(environment: Mapping[str, str]) -> Hints:
    """Raises `NotOffered`, which names the variable."""
    return Hints(
        memory=_bytes(environment, "SAMOVAR_MEMORY"),
        device_memory=_bytes(environment, "SAMOVAR_DEVICE_MEMORY"),
        min_instances=_count(environment, "SAMOVAR_MIN_INSTANCES") or 0,
        max_instances=_count(environment, "SAMOVAR_MAX_INSTANCES", least=1),
        idle_timeout=_seconds(environment, "SAMOVAR_IDLE_TIMEOUT"),
    )


def _bytes(environment: Mapping[str, str], name: str) -> int | None:
    if name not in environment:
        return None
    try:
        return units.read(environment[name])
    except ValueError as error:
        raise _wrong(name, str(error)) from None


def _count(environment: Mapping[str, str], name: str, least: int = 0) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise _wrong(name, f"{text!r} is no number of instances; write {least} or more")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise _wrong(name, f"{text!r} is no number of seconds; write 0 (never) or more")
    return value


def _wrong(name: str, reason: str) -> NotOffered:
    return NotOffered(f"cog.yaml: environment: {name}: {reason}", stage="config", file="cog.yaml")
