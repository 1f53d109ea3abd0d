"""A transformer as large as BERT's larger one (24 layers of 1,024), with random weights: only its speed means anything.

Sizes: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", table of BERT large. `TRANSFORMER_LAYERS`
makes a smaller one, to see that it works without a GPU.
"""

import os
from typing import Any

from cog import BasePredictor, Input

LENGTH = 128  # tokens of a text, whatever its length: each costs the same


class Predictor(BasePredictor):
    """The predictor."""

    max_batch_size = 256

    def setup(self) -> None:
        """Create the model, and run it once."""
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(1)
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        config = BertConfig(
            hidden_size=1024,
            num_hidden_layers=int(os.environ.get("TRANSFORMER_LAYERS", "24")),
            num_attention_heads=16,
            intermediate_size=4096,
        )
        kind = torch.float16 if self.device == "cuda" else torch.float32
        model: Any = BertModel(config, add_pooling_layer=False)
        self.model = model.to(self.device, kind).eval()
        self.embed(["a first one, so that nobody waits for what happens only once"])

    def predict(self, text: str = Input(description="Anything; its bytes are the tokens")) -> list[float]:
        """Embed one text."""
        return self.embed([text])[0]

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[list[float]]:
        """Embed a batch of texts."""
        return self.embed([input["text"] for input in inputs])

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Return the first eight numbers of each text's mean; only the speed matters."""
        rows = [list(text.encode()[:LENGTH].ljust(LENGTH, b" ")) for text in texts]
        tokens = self.torch.tensor(rows, device=self.device)
        with self.torch.inference_mode():
            return self.model(tokens).last_hidden_state.float().mean(1)[:, :8].tolist()
