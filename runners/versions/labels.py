"""What a model says of itself, for whoever looks for one: `SAMOVAR_LABELS` in the `environment` of its cog.yaml."""

import re
from collections.abc import Mapping
from typing import Final

from runners.errors import NotOffered

NAME: Final = "SAMOVAR_LABELS"
LABEL: Final = re.compile(r"([a-z0-9][a-z0-9._/-]{0,62})=([\x21-\x7e]{0,255})")
MOST: Final = 32


def read(environment: Mapping[str, str]) -> dict[str, str]:
    """From `openai=chat,completions size=small`. Raises `NotOffered`."""
    labels: dict[str, str] = {}
    for word in environment.get(NAME, "").split():
        found = LABEL.fullmatch(word)
        if found is None:
            raise _wrong(f"{word[:100]!r} is no label; write name=value, with a blank between two")
        labels[found[1]] = found[2]
    if len(labels) > MOST:
        raise _wrong(f"there are {len(labels)} labels, and may be {MOST}")
    return labels


def _wrong(reason: str) -> NotOffered:
    return NotOffered(f"cog.yaml: environment: {NAME}: {reason}", stage="config", file="cog.yaml")
