"""Reading a process's settings from the environment; a name that no process knows is refused."""

import difflib
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec import ValidationError

import gateway.settings
import runners.settings
from deploy.errors import Unusable
from runners.errors import RunnerError

T = TypeVar("T")

PREFIX: Final = "SAMOVAR_"
_OWN: Final = ("DATA_DIR", "HOST", "PORT", "TOKEN", "MODELS", "NATS_LISTEN", "GATEWAYS", "URL", "CACHE_DIR")
OWN: Final = frozenset(PREFIX + name for name in _OWN)
KNOWN: Final = OWN | gateway.settings.NAMES | runners.settings.NAMES


def read(from_env: Callable[[Mapping[str, str]], T], environ: Mapping[str, str]) -> T:
    """Settings by `from_env`; every refusal names the variable."""
    check_names(environ)
    try:
        return from_env(environ)
    except ValidationError as error:
        raise Unusable(_named(str(error))) from None
    except RunnerError as error:
        raise Unusable(str(error)) from None


def check_names(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in KNOWN:
            said, known = name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in sorted(KNOWN)]
            nearest = difflib.get_close_matches(said, known, n=1)
            advice = f"did you mean {PREFIX}{nearest[0]}?" if nearest else f"there are {', '.join(sorted(KNOWN))}"
            raise Unusable(f"{name} is set, and there is no such setting: {advice}")


def _named(refusal: str) -> str:
    """msgspec says `Expected … - at `$.port``, or `… missing required field `port``."""
    reason, _, place = refusal.partition(" - at `$.")
    if place:
        return f"{PREFIX}{place.rstrip('`').split('[')[0].upper()}: {reason}"
    if "missing required field" in refusal:
        return f"{PREFIX}{refusal.split('`')[1].upper()} is not set, and it has to be"
    return refusal
