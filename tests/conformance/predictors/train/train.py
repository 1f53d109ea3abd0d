from cog import BaseModel, Input


class TrainingOutput(BaseModel):
    weights: str


def train(steps: int = Input(default=2, ge=1), name: str = "w") -> TrainingOutput:
    print("training")
    return TrainingOutput(weights=f"{name}{steps}")
