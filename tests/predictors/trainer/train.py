"""A training beside a predictor, with inputs of its own."""

import tempfile

from cog import BaseModel, Input, Path


class TrainingOutput(BaseModel):
    weights: Path


def train(
    data: Path = Input(description="What to learn from"), steps: int = Input(default=10, ge=1, le=100)
) -> TrainingOutput:
    weights = Path(tempfile.mkdtemp()) / "weights.txt"
    weights.write_text(data.read_text() * steps)
    return TrainingOutput(weights=weights)
