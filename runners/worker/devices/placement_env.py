"""The agent's plan for this process, taken out of the environment before user code can see it."""

from collections.abc import MutableMapping
from typing import Final

from msgspec import json

from ..frames import Placement

NAME: Final = "SAMOVAR_PLACEMENT"
_COUNTS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def taken(environ: MutableMapping[str, str]) -> Placement:
    """Without one everything is as the libraries like it."""
    text = environ.pop(NAME, "")
    plan = json.decode(text, type=Placement) if text else Placement()
    if plan.threads > 0:
        _share_the_cores(environ, plan.threads)
    return plan


def _share_the_cores(environ: MutableMapping[str, str], threads: int) -> None:
    """What the model's own environment says stays. Libraries read these when they are imported."""
    for name in _COUNTS:
        environ.setdefault(name, str(threads))
    # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
