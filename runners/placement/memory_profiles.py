"""The memory that an instance of a version needs: declared by its model, else measured, else estimated."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import structlog
from msgspec import DecodeError, Struct, field, json, structs

from runners import units
from runners.errors import UnusableModel
from runners.placement.planner import CPU, Host, MemoryNeed

log = structlog.stdlib.get_logger()

DEFAULT_BYTES: Final = 1_000_000_000  # for an unmeasured version, where no other version was measured either
MEDIAN_FACTOR: Final = 1.5  # times the median of the measured versions
HEADROOM: Final = 1.1  # times what was measured: no two runs are alike
CUDA_CONTEXT_BYTES: Final = 600_000_000  # that a process takes of a GPU before the first tensor
FOLDER: Final = "needs"


class Hints(Struct, frozen=True, kw_only=True):
    """A model's own settings, from the `environment` of its cog.yaml."""

    memory: int | None = None
    device_memory: int | None = None
    min_instances: int = 0
    max_instances: int | None = None
    idle_timeout: float | None = None


class MemoryProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The measurements of a version on this host; they survive a restart as a JSON file."""

    host: int = 0
    """Resident bytes of its processes, at most."""
    device: int = 0
    """Bytes of a GPU."""
    load_seconds: float = 0.0
    largest_batch: int | None = field(default=None, name="fits")
    """The largest batch that did not run out of memory."""
    needs_all_devices: bool = field(default=False, name="whole")
    """It could not be set up on one device."""


class MemoryProfiles:
    """The measurements of every version on this host, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._profiles: dict[str, MemoryProfile] = {file.stem: self._read(file.stem) for file in folder.glob("*.json")}

    def estimate_unmeasured(self) -> int:
        """Estimate the bytes of a version that was never measured, from the others: models of one host are alike."""
        sizes = [profile.host for profile in self._profiles.values() if profile.host]
        return int(MEDIAN_FACTOR * median(sizes)) if sizes else DEFAULT_BYTES

    def get(self, version: str) -> MemoryProfile:
        """Return a version's measurements, all zero if there are none."""
        if version not in self._profiles:
            self._profiles[version] = self._read(version)
        return self._profiles[version]

    def update(self, version: str, **fields: Any) -> None:
        """Replace fields of a version's `MemoryProfile`, in memory and in its file."""
        old = self.get(version)
        new = structs.replace(old, **fields)
        if new == old:
            return
        self._profiles[version] = new
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._file(version).with_suffix(".new")
            file.write_bytes(json.encode(new))
            file.replace(self._file(version))
        except OSError as error:
            log.warning("cannot write a memory profile to the cache", file=str(self._file(version)), reason=str(error))

    def _file(self, version: str) -> Path:
        return self._folder / f"{version}.json"

    def _read(self, version: str) -> MemoryProfile:
        try:
            return json.decode(self._file(version).read_bytes(), type=MemoryProfile)
        except (OSError, DecodeError):
            return MemoryProfile()


def memory_need(host: Host, hints: Hints, profile: MemoryProfile, estimate: int = DEFAULT_BYTES) -> MemoryNeed:
    """Return the bytes that an instance needs, at most those of the host: what is too large for it goes to disk.

    `estimate` counts where the model declares nothing and nothing was measured.
    """
    estimate = host.memory if profile.needs_all_devices else estimate
    memory = min(hints.memory or int(profile.host * HEADROOM) or estimate, host.memory)
    if host.kind == CPU:
        largest = max(device.memory for device in host.devices)
        return MemoryNeed(host=memory, device=min(hints.device_memory or memory, largest))
    device = hints.device_memory or (int(profile.device * HEADROOM) + CUDA_CONTEXT_BYTES if profile.device else 0)
    return MemoryNeed(
        host=memory,
        device=device or max(each.memory for each in host.devices),
        needs_all_devices=profile.needs_all_devices,
    )


def parse_hints(environment: Mapping[str, str]) -> Hints:
    """Read a model's hints from its environment. Raises `UnusableModel`, which names the variable."""
    return Hints(
        memory=_bytes(environment, "SAMOVAR_MEMORY"),
        device_memory=_bytes(environment, "SAMOVAR_DEVICE_MEMORY"),
        min_instances=_count(environment, "SAMOVAR_MIN_INSTANCES") or 0,
        max_instances=_count(environment, "SAMOVAR_MAX_INSTANCES", minimum=1),
        idle_timeout=_seconds(environment, "SAMOVAR_IDLE_TIMEOUT"),
    )


def _bytes(environment: Mapping[str, str], name: str) -> int | None:
    if name not in environment:
        return None
    try:
        return units.parse_bytes(environment[name])
    except ValueError as error:
        raise _bad_hint(name, str(error)) from None


def _count(environment: Mapping[str, str], name: str, minimum: int = 0) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < minimum:
        raise _bad_hint(name, f"{text!r} is not a number of instances; write {minimum} or more")
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
        raise _bad_hint(name, f"{text!r} is not a number of seconds; write 0 (never) or more")
    return value


def _bad_hint(name: str, reason: str) -> UnusableModel:
    return UnusableModel(f"cog.yaml: environment: {name}: {reason}", stage="config", file="cog.yaml")
