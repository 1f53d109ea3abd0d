"""Settings from the environment, with an error for a name that no process of ours knows."""

import difflib
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec import ValidationError

import gateway.settings
import runners.settings
from deploy.errors import UsageError
from runners.errors import RunnerError

T = TypeVar("T")

PREFIX: Final = "SAMOVAR_"
_OWN: Final = ("DATA_DIR", "HOST", "PORT", "TOKEN", "MODELS", "NATS_LISTEN", "GATEWAYS", "URL", "CACHE_DIR")
OWN_NAMES: Final = frozenset(PREFIX + name for name in _OWN)
KNOWN_NAMES: Final = OWN_NAMES | gateway.settings.ENVIRONMENT_NAMES | runners.settings.NAMES


def read_settings(from_env: Callable[[Mapping[str, str]], T], environ: Mapping[str, str]) -> T:
    """Read settings with `from_env`. Raises `UsageError`, which names the variable."""
    check_names(environ)
    try:
        return from_env(environ)
    except ValidationError as error:
        raise UsageError(_name_variable(str(error))) from None
    except RunnerError as error:
        raise UsageError(str(error)) from None


def check_names(environ: Mapping[str, str]) -> None:
    """Check that every `SAMOVAR_*` variable is a setting of some process of ours. Raises `UsageError`."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in KNOWN_NAMES:
            names = ", ".join(sorted(KNOWN_NAMES))
            misspelled, known = name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in sorted(KNOWN_NAMES)]
            nearest = difflib.get_close_matches(misspelled, known, n=1)
            advice = f"did you mean {PREFIX}{nearest[0]}?" if nearest else f"the settings are {names}"
            raise UsageError(f"{name} is set, but there is no such setting: {advice}")


def _name_variable(message: str) -> str:
    """Name the variable in msgspec's message: `Expected … - at `$.port``, or `… missing required field `port``."""
    reason, _, path = message.partition(" - at `$.")
    if path:
        return f"{PREFIX}{path.rstrip('`').split('[')[0].upper()}: {reason}"
    if "missing required field" in message:
        return f"{PREFIX}{message.split('`')[1].upper()} is not set, but it is required"
    return message
