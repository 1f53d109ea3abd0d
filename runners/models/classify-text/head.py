"""The trained layer, from an embedding to a score per label, and the file that stores it."""

import json
from pathlib import Path
from typing import Any

from embedding import SIZE


def new(labels: list[str]) -> Any:
    """Return an untrained layer."""
    import torch

    return torch.nn.Linear(SIZE, len(labels))


def save(path: Path, layer: Any, labels: list[str]) -> None:
    """Write a layer and its labels to a file."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in layer.state_dict().items()}
    save_file(state, path, metadata={"labels": json.dumps(labels)})


def load(path: Path) -> tuple[Any, list[str]]:
    """Read a layer and its labels from a file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        labels: list[str] = json.loads((file.metadata() or {})["labels"])
        state = {name: file.get_tensor(name) for name in ("weight", "bias")}
    layer = new(labels)
    layer.load_state_dict(state)
    return layer, labels
