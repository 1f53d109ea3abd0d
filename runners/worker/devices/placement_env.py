"""The agent's plan for this process, taken out of the environment before user code can see it."""

from collections.abc import MutableMapping
from typing import Final

from msgspec import json

from ..frames import Placement

VARIABLE: Final = "SAMOVAR_PLACEMENT"
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def take_placement(environ: MutableMapping[str, str]) -> Placement:
    """Remove the plan from `environ` and return it. Without one the libraries choose for themselves."""
    text = environ.pop(VARIABLE, "")
    placement = json.decode(text, type=Placement) if text else Placement()
    if placement.threads > 0:
        _limit_threads(environ, placement.threads)
    return placement


def _limit_threads(environ: MutableMapping[str, str], threads: int) -> None:
    """Set what libraries read when they are imported. What the model's own environment says wins."""
    for name in _THREAD_VARIABLES:
        environ.setdefault(name, str(threads))
    # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
