"""The packages that an environment still lacks when it is laid over the runner's own."""

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

Packages = dict[str, Distribution]
"""Installed packages by canonical name."""


def own_package_paths() -> list[str]:
    """Return the folders of this interpreter's own packages."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def find_packages(paths: Iterable[str]) -> Packages:
    """Return the packages in these folders; the first one of a name wins, as with imports."""
    packages: Packages = {}
    for distribution in distributions(path=list(paths)):
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(canonicalize_name(name), distribution)
    return packages


def parse_requirement(line: str) -> Requirement | None:
    """Parse a line of a requirements file; None if it is an option, a path or a URL, and not a package by name."""
    try:
        return Requirement(line.partition(" --")[0].strip())
    except InvalidRequirement:
        return None


def find_conflicts(packages: Packages, requirements: Iterable[Requirement]) -> set[str]:
    """Return the names of installed packages that do not meet these requirements."""
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if _applies(requirement, "")
        and canonicalize_name(requirement.name) in packages
        and not _is_met(packages, requirement)
    }


def find_missing(packages: Packages, requirements: Iterable[Requirement]) -> Iterator[tuple[Requirement, str | None]]:
    """Yield what is not installed, or not in a fitting version, and the package that requires it.

    The packages that an installed one requires are checked, too.
    """
    queue: list[tuple[Requirement, str | None]] = [(each, None) for each in requirements if _applies(each, "")]
    checked: set[tuple[str, str]] = set()
    while queue:
        requirement, required_by = queue.pop()
        if not _is_met(packages, requirement):
            yield requirement, required_by
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in checked:
                checked.add((name, extra))
                dependencies = map(parse_requirement, packages[name].requires or [])
                queue += [(each, name) for each in dependencies if each is not None and _applies(each, extra)]


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})


def _is_met(packages: Packages, requirement: Requirement) -> bool:
    package = packages.get(canonicalize_name(requirement.name))
    if package is None:
        return False
    if requirement.url is not None:
        # Metadata does not say reliably which file a package came from.
        return package.read_text("direct_url.json") is not None
    return requirement.specifier.contains(package.version, prereleases=True)
