"""A model's labels for those who look for one: `SAMOVAR_LABELS` in the `environment` of its cog.yaml."""

import re
from collections.abc import Mapping
from typing import Final

from runners.errors import UnusableModel

VARIABLE: Final = "SAMOVAR_LABELS"
MAX_LABELS: Final = 32
_LABEL: Final = re.compile(r"([a-z0-9][a-z0-9._/-]{0,62})=([\x21-\x7e]{0,255})")


def parse_labels(environment: Mapping[str, str]) -> dict[str, str]:
    """Read labels from a text such as `openai=chat,completions size=small`. Raises `UnusableModel`."""
    labels: dict[str, str] = {}
    for word in environment.get(VARIABLE, "").split():
        match = _LABEL.fullmatch(word)
        if match is None:
            raise _bad_labels(f"{word[:100]!r} is not a label; write name=value, with a space between two labels")
        labels[match[1]] = match[2]
    if len(labels) > MAX_LABELS:
        raise _bad_labels(f"there are {len(labels)} labels; {MAX_LABELS} are allowed")
    return labels


def _bad_labels(reason: str) -> UnusableModel:
    return UnusableModel(f"cog.yaml: environment: {VARIABLE}: {reason}", stage="config", file="cog.yaml")
