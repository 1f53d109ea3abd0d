"""A picture that somebody sent is opened, or refused with a reason.

Each model's folder stands alone, so several have a copy of this file; a test says that they are the same.
"""

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps


def opened(name: str, path: Path, most: int, least: int, wanted: int = 0) -> Any:
    """RGB, or RGBA where some of it can be seen through, and upright; never larger than memory bears.

    `most` counts pixels, `least` those of the shorter side. Where the format can be read smaller than it is, it is,
    down to `wanted`. Raises `ValueError`, which names the input.
    """
    try:
        with Image.open(path) as picture:
            check(name, picture.width, picture.height, most, least)
            if wanted:
                picture.draft("RGB", (wanted, wanted))
            picture.load()
            upright: Any = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):  # else what is over 255 becomes white
                upright = upright.point(high).convert("L")
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a picture that can be read (png, jpeg, webp, …): {said(error)}") from None


def check(name: str, width: int, height: int, most: int, least: int) -> None:
    if width * height > most:
        raise ValueError(f"{name}: {width} x {height} is too large; give it at most {most / 1_000_000:g} megapixels")
    if min(width, height) < least:
        raise ValueError(f"{name}: {width} x {height} is too small; each side needs at least {least} pixels")


def high(value: Any) -> Any:
    """The upper 8 of 16 bits."""
    return value * (1 / 256)


def said(error: BaseException) -> str:
    """Without the path, which is of no use to who sent the file."""
    text = str(error)
    return "unknown format" if "cannot identify" in text else text
