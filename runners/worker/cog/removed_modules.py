"""Modules that older releases of `cog` had and that mean nothing here. Importing one says why, and what to do."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_REASONS: Final = {
    "cog.code_xforms": "it rewrote predictors for Cog's own server",
    "cog.coders": "its coders are asked by nobody; return dicts, dataclasses or cog.BaseModel",
    "cog.command": "it is Cog's command line; use samovar",
    "cog.config": "it reads cog.yaml for Cog's own server; read the file with yaml where you need it",
    "cog.json": "outputs are made JSON of by the runner; return them as they are",
    "cog.logging": "it sets up the log of Cog's own server; use the module logging",
    "cog.response": "it is part of Cog's own server; return the output from predict",
    "cog.schema": "it is part of Cog's own server; describe the output with cog.BaseModel",
    "cog.server.http": "it is Cog's own server; the runner serves predictions itself",
    "cog.server.runner": "it is Cog's own server; the runner serves predictions itself",
    "cog.server.webhook": "it is Cog's own server; give webhook with the prediction instead",
    "cog.server.worker": "it is Cog's own server; the runner serves predictions itself",
}


class RemovedModules:
    """A finder that finds nothing, and raises an error that says why."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None. Raises `ModuleNotFoundError` with the reason for a module that was removed."""
        reason = _REASONS.get(name)
        if reason is not None:
            raise ModuleNotFoundError(f"{name} is not there when Samovar runs a predictor: {reason}", name=name)
        return None


def install() -> None:
    """Put the finder on `sys.meta_path`, once."""
    if not any(isinstance(finder, RemovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, RemovedModules())
