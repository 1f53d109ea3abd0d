"""PP-OCR reads the text in a picture, and says where each part of it stands."""

import os
from importlib.util import find_spec
from pathlib import Path as LocalPath
from typing import Any

from cog import BaseModel, BasePredictor, Input, Path
from pictures import open_picture
from rows import Corners, rows

MAX_PIXELS = 50_000_000  # of a picture that is opened at all; the longer side is looked at with 2000
MIN_SIDE = 8  # pixels of the shorter side
FILES = {"Det": "PP-OCRv6_det_small", "Cls": "ch_ppocr_mobile_v2.0_cls_mobile", "Rec": "PP-OCRv6_rec_small"}


class Part(BaseModel):
    """A piece of text, how sure the model is, and its four corners."""

    text: str
    score: float
    box: list[list[float]]


class Output(BaseModel):
    """All text of a picture, and its parts."""

    text: str
    boxes: list[Part]


class Predictor(BasePredictor):
    """Reads one picture at a time."""

    def setup(self) -> None:
        """Load the three networks and read once."""
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        threads = min(int(os.environ["OMP_NUM_THREADS"]), os.cpu_count() or 1)
        import cv2
        import numpy
        from PIL import Image, ImageDraw
        from rapidocr import RapidOCR

        cv2.setNumThreads(threads)
        self.numpy, self.Image = numpy, Image
        engine = "EngineConfig.onnxruntime"
        settings: dict[str, Any] = {
            "Global.log_level": "critical",  # it reports every picture without text
            f"{engine}.intra_op_num_threads": threads,
            f"{engine}.inter_op_num_threads": 1,
        }
        # With their paths given, the files are neither searched for nor downloaded.
        settings |= {f"{part}.model_path": str(weights() / f"{file}.onnx") for part, file in FILES.items()}
        self.reader: Any = RapidOCR(params=settings)
        paper = Image.new("RGB", (200, 60), "white")
        ImageDraw.Draw(paper).text((20, 10), "Ready", "black", font_size=32)
        self.read(paper)  # each of the three nets is loaded when there is something for it

    def predict(self, image: Path = Input(description="A picture of text", accept="image/*")) -> Output:
        """Read the text of a picture."""
        picture = open_picture("image", image, MAX_PIXELS, MIN_SIDE)
        print(f"reading a picture of {picture.width} x {picture.height}")
        lines = self.read(picture)
        parts = [part for line in lines for part in line]
        print(f"found {len(parts)} parts in {len(lines)} lines")
        return Output(text="\n".join(" ".join(part.text for part in line) for line in lines), boxes=parts)

    def read(self, picture: Any) -> list[list[Part]]:
        """Return the parts of each line. Transparent pixels are read as white."""
        white = self.Image.new("RGBA", picture.size, "white")
        opaque = self.Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
        blue_first = self.numpy.ascontiguousarray(self.numpy.asarray(opaque)[:, :, ::-1])
        result = self.reader(blue_first)
        if not result.txts:
            return []
        boxes: list[Corners] = [[[round(float(x), 1) for x in corner] for corner in box] for box in result.boxes]
        parts = [
            Part(text=text, score=round(float(score), 6), box=box)
            for text, score, box in zip(result.txts, result.scores, boxes, strict=True)
        ]
        return [[parts[number] for number in row] for row in rows(boxes)]


def weights() -> LocalPath:
    """Return the folder of the weights."""
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise RuntimeError("the weights are missing: pip install rapidocr==3.10.0")
    return LocalPath(spec.origin).parent / "models"
