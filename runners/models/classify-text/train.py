"""Teaches it labels: texts are embedded once, then one layer on top of them is trained, which takes seconds."""

import os
import tempfile
from pathlib import Path as LocalPath
from typing import Any

import examples as data
import head
from cog import BaseModel, Input, Path
from embedding import Embedding

TOLD = 10  # times that it says how far it is
FILE = "labels.safetensors"


class TrainingOutput(BaseModel):
    weights: Path


def train(
    examples: Path = Input(description='JSON lines {"text": …, "label": …}, or CSV with the columns text and label'),
    epochs: int = Input(description="How often to go through the examples", ge=1, le=10_000, default=200),
    learning_rate: float = Input(description="How large the steps are", ge=1e-5, le=1.0, default=0.05),
) -> TrainingOutput:
    found = data.read(LocalPath(examples))
    labels = sorted({each.label for each in found})
    print(f"{len(found)} examples of {len(labels)} labels: {', '.join(labels[:20])}")
    embedding = Embedding()
    embedded = embedding.of([each.text for each in found])
    wanted = embedding.torch.tensor([labels.index(each.label) for each in found], device=embedding.device)
    layer = taught(embedding.torch, embedded, wanted, labels, epochs, learning_rate)
    path = LocalPath(tempfile.mkdtemp()) / FILE
    head.save(path, layer, labels)
    return TrainingOutput(weights=Path(path))


def taught(torch: Any, embedded: Any, wanted: Any, labels: list[str], epochs: int, learning_rate: float) -> Any:
    torch.manual_seed(0)  # the same examples make the same weights
    start = weights()
    layer = head.new(labels).to(embedded.device)
    if start is not None and start[1] == labels:
        layer.load_state_dict(start[0].state_dict())
        print("going on from what it has learned before")
    steps = torch.optim.AdamW(layer.parameters(), lr=learning_rate, weight_decay=0.01)
    for epoch in range(1, epochs + 1):
        scores = layer(embedded)
        loss = torch.nn.functional.cross_entropy(scores, wanted)
        steps.zero_grad()
        loss.backward()
        steps.step()
        if epoch % max(1, epochs // TOLD) == 0 or epoch == epochs:
            right = (scores.argmax(1) == wanted).float().mean().item()
            print(f"epoch {epoch}/{epochs}: loss {loss.item():.4f}, {right:.0%} of the examples right", flush=True)
    return layer


def weights() -> Any:
    """Of the version that is trained further, if it has some."""
    path = os.environ.get("COG_WEIGHTS")
    return head.load(LocalPath(path)) if path else None
