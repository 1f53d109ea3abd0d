"""A training that stores a greeting as weights."""

import tempfile
from pathlib import Path as Folder
from time import monotonic, sleep

from cog import BaseModel, Input, Path


class TrainingOutput(BaseModel):
    weights: Path


def train(
    greeting: str = Input(description="What to learn"),
    steps: int = Input(description="How long to learn", default=2, ge=1, le=1000),
    gate: str = Input(description="A file to wait for, if it is named", default=""),
) -> TrainingOutput:
    for step in range(steps):
        print(f"step {step + 1} of {steps}")
    until = monotonic() + 60
    while gate and not Folder(gate).exists() and monotonic() < until:
        sleep(0.02)
    weights = Folder(tempfile.mkdtemp()) / "greeting.txt"
    weights.write_text(greeting)
    return TrainingOutput(weights=Path(weights))
