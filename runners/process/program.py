"""The program that a worker process runs, and its environment."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, json

from schemas.egress import SPECIAL_NETWORKS

HOST_SCRIPT: Final = Path(__file__).parents[1] / "worker" / "host.py"

INHERITED_VARIABLES: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)|VIRTUAL_ENV"
    r"|(https?|no)_proxy|(HTTPS?|NO)_PROXY"
    r"|(LC|XDG|OMP|MKL|OPENBLAS|CUDA|NVIDIA|NCCL|TORCH|PYTORCH|HF|HIP|ROCR|HSA)_.*"
)
"""Names in our environment that user code may see: how to compute, and nothing of the broker or the file store."""

_INPUTS_VARIABLE: Final = "SAMOVAR_INPUTS"


class Program(Struct, frozen=True, kw_only=True):
    """The predictor that a worker process runs, and the interpreter it runs in."""

    folder: Path
    ref: str
    environment: Mapping[str, str]
    python: str = sys.executable
    host: str = str(HOST_SCRIPT)
    train: bool = False
    """Run its `train` in place of `predict`."""


def worker_environment(
    inherited: Mapping[str, str], cache_dir: str, declared: Mapping[str, str], inputs: str = ""
) -> dict[str, str]:
    """Return a worker's environment: some of the inherited variables, and those that its model declares.

    `inputs` are the download limits, which the model cannot change.
    """
    passed = {name: value for name, value in inherited.items() if INHERITED_VARIABLES.fullmatch(name)}
    variables = {**passed, "SAMOVAR_CACHE_DIR": cache_dir, **declared}
    variables.pop(_INPUTS_VARIABLE, None)
    return {**variables, _INPUTS_VARIABLE: inputs} if inputs else variables


def download_limits(size: int, timeout: float, *, private: bool) -> str:
    """Return which input files a worker may download, in the form that `worker_environment` takes.

    A worker can import nothing of ours, so the networks of the egress policy are passed as data.
    """
    limits = {"bytes": size, "timeout": timeout, "private": private, "networks": SPECIAL_NETWORKS}
    return json.encode(limits).decode()
