"""Training: texts are embedded once, then one layer on top of the embeddings is trained, which takes seconds."""

import os
import tempfile
from pathlib import Path as LocalPath
from typing import Any

import examples as data
import head
from cog import BaseModel, Input, Path
from embedding import Embedding

REPORTS = 10  # how often the progress is printed
FILE = "labels.safetensors"


class TrainingOutput(BaseModel):
    """The trained weights."""

    weights: Path


def train(
    examples: Path = Input(description='JSON lines {"text": …, "label": …}, or CSV with the columns text and label'),
    epochs: int = Input(description="How often to go through the examples", ge=1, le=10_000, default=200),
    learning_rate: float = Input(description="How large the steps are", ge=1e-5, le=1.0, default=0.05),
) -> TrainingOutput:
    """Train a layer on examples."""
    rows = data.read(LocalPath(examples))
    labels = sorted({each.label for each in rows})
    print(f"{len(rows)} examples of {len(labels)} labels: {', '.join(labels[:20])}")
    embedding = Embedding()
    inputs = embedding.embed([each.text for each in rows])
    targets = embedding.torch.tensor([labels.index(each.label) for each in rows], device=embedding.device)
    layer = train_layer(embedding.torch, inputs, targets, labels, epochs, learning_rate)
    path = LocalPath(tempfile.mkdtemp()) / FILE
    head.save(path, layer, labels)
    return TrainingOutput(weights=Path(path))


def train_layer(torch: Any, inputs: Any, targets: Any, labels: list[str], epochs: int, learning_rate: float) -> Any:
    """Train a layer on all examples at once, from the earlier weights if they have the same labels."""
    torch.manual_seed(0)  # the same examples make the same weights
    start = weights()
    layer = head.new(labels).to(inputs.device)
    if start is not None and start[1] == labels:
        layer.load_state_dict(start[0].state_dict())
        print("going on from what it has learned before")
    optimizer = torch.optim.AdamW(layer.parameters(), lr=learning_rate, weight_decay=0.01)
    for epoch in range(1, epochs + 1):
        scores = layer(inputs)
        loss = torch.nn.functional.cross_entropy(scores, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % max(1, epochs // REPORTS) == 0 or epoch == epochs:
            right = (scores.argmax(1) == targets).float().mean().item()
            print(f"epoch {epoch}/{epochs}: loss {loss.item():.4f}, {right:.0%} of the examples right", flush=True)
    return layer


def weights() -> Any:
    """Return the layer and labels of the version that is trained further, if it has some."""
    path = os.environ.get("COG_WEIGHTS")
    return head.load(LocalPath(path)) if path else None
