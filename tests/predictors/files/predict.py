"""A predictor with file inputs: from anywhere, one or several, or none."""

import hashlib
from typing import Any, Optional

from cog import BasePredictor, Input, Path, URLPath


def describe(path: Path) -> dict[str, Any]:
    local = path.convert() if isinstance(path, URLPath) else path
    content = local.read_bytes()
    return {"suffix": local.suffix, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.seen: list[Path] = []

    def predict(
        self,
        file: Path = Input(description="Any file", accept=".txt,image/*"),
        more: list[Path] = Input(default=[]),
        mask: Optional[Path] = Input(default=None),
    ) -> dict[str, Any]:
        rest = sum(path.exists() for path in self.seen)
        self.seen = [file, *more] + ([mask] if mask else [])
        return {"files": [describe(path) for path in self.seen], "mask": mask is not None, "left of the last": rest}
