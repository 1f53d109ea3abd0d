"""The policy of scaling: how many instances a service may and should have, and how long one may be idle."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from runners.instances.pool_entry import PoolEntry
from runners.placement.memory_profiles import Hints
from runners.settings import Settings
from schemas import subjects
from schemas.models import Release

EXTRA_IDLE_SECONDS: Final = 60.0  # without work, after which an instance beside the first one leaves
DEFAULT_MAX_INSTANCES: Final = 64  # of a version whose hints are not known yet


class ScalingPolicy:
    """The limits that settings, models and deployments set.

    The pool asks it before it adds or evicts an instance. A release has the numbers of its deployment, and a version
    served by itself those of its model.
    """

    def __init__(
        self,
        settings: Settings,
        model_hints: Callable[[], Mapping[str, Hints]],
        releases: Callable[[], Mapping[str, Release]],
    ) -> None:
        """`model_hints` are those of local models, by version; `releases` are those for this host, by service."""
        self._settings = settings
        self._model_hints = model_hints
        self._releases = releases
        self._model_minimums: dict[str, int] = {}
        """How many instances local models want in any case; those that want none, nearly all, are left out."""
        self.refresh_models()

    def refresh_models(self) -> None:
        """Read the hints of local models again."""
        hints = self._model_hints().items()
        self._model_minimums = {version: each.min_instances for version, each in hints if each.min_instances}

    def minimums(self) -> dict[str, int]:
        """Return how many instances are wanted in any case, by service."""
        return self._model_minimums | {each: release.min_instances for each, release in self._releases().items()}

    def min_instances(self, entry: PoolEntry) -> int:
        """Return how many instances of an entry's service are wanted in any case."""
        if subjects.pool_of(entry.service) is None:
            return entry.hints.min_instances
        release = self._releases().get(entry.service)
        return release.min_instances if release is not None else 0

    def max_instances(self, service: str, hints: Iterable[Hints]) -> int:
        """Return how many instances of a service the whole fleet may have; `hints` are those of its instances here."""
        if subjects.pool_of(service) is not None:
            release = self._releases().get(service)
            return release.max_instances if release is not None else 0
        maximums = (each.max_instances or self._settings.max_instances for each in hints)
        return max(maximums, default=DEFAULT_MAX_INSTANCES)

    def idle_limit(self, entry: PoolEntry) -> float:
        """Return the seconds that an instance may be idle; 0 means for ever."""
        hint = entry.hints.idle_timeout
        limit = self._settings.idle_timeout if hint is None else hint
        return limit if entry.key[1] == 0 else min(limit or EXTRA_IDLE_SECONDS, EXTRA_IDLE_SECONDS)

    def is_served(self, service: str) -> bool:
        """Return whether a service may be served here as far as releases go."""
        return subjects.pool_of(service) is None or service in self._releases()
