"""What an environment lacks of what it wants, when it is laid over the runner's packages."""

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

Packages = dict[str, Distribution]
"""By canonical name."""


def runners_paths() -> list[str]:
    """Where this interpreter's own packages are."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def found(paths: Iterable[str]) -> Packages:
    """The first one of a name wins, as with imports."""
    packages: Packages = {}
    for distribution in distributions(path=list(paths)):
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(canonicalize_name(name), distribution)
    return packages


def parsed(line: str) -> Requirement | None:
    """None: it is no requirement by name, but an option, a path or a URL."""
    try:
        return Requirement(line.partition(" --")[0].strip())
    except InvalidRequirement:
        return None


def unfitting(packages: Packages, wanted: Iterable[Requirement]) -> set[str]:
    """Names of packages that are there, and not as these want them."""
    return {
        canonicalize_name(one.name)
        for one in wanted
        if _applies(one, "") and canonicalize_name(one.name) in packages and not _fits(packages, one)
    }


def missing(packages: Packages, wanted: Iterable[Requirement]) -> Iterator[tuple[Requirement, str | None]]:
    """What is not there, or not in a version that fits, of these and of all that they need; and who needs it."""
    waiting: list[tuple[Requirement, str | None]] = [(one, None) for one in wanted if _applies(one, "")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one, by = waiting.pop()
        if not _fits(packages, one):
            yield one, by
            continue
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = map(parsed, packages[name].requires or [])
                waiting += [(need, name) for need in needs if need is not None and _applies(need, extra)]


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})


def _fits(packages: Packages, requirement: Requirement) -> bool:
    there = packages.get(canonicalize_name(requirement.name))
    if there is None:
        return False
    if requirement.url is not None:
        # Which file a package came from is not told reliably.
        return there.read_text("direct_url.json") is not None
    return requirement.specifier.contains(there.version, prereleases=True)
