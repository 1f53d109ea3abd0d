"""Opening a picture that somebody sent, or refusing it with a reason.

Each model's folder stands alone, so several have a copy of this file. A test holds the copies together.
"""

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps


def open_picture(name: str, path: Path, max_pixels: int, min_side: int, target_side: int = 0) -> Any:
    """Open a picture upright, as RGB, or as RGBA if it has transparency. Raises `ValueError`, which names the input.

    `min_side` is for the shorter side, in pixels. If the format can be read at a smaller size, it is, down to
    `target_side`.
    """
    try:
        with Image.open(path) as picture:
            check_size(name, picture.width, picture.height, max_pixels, min_side)
            if target_side:
                picture.draft("RGB", (target_side, target_side))
            picture.load()
            upright: Any = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):  # else values over 255 would become white
                upright = upright.point(upper_byte).convert("L")
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a picture that can be read (png, jpeg, webp, …): {reason(error)}") from None


def check_size(name: str, width: int, height: int, max_pixels: int, min_side: int) -> None:
    """Raise `ValueError` for a picture that is too large or too small."""
    if width * height > max_pixels:
        raise ValueError(
            f"{name}: {width} x {height} is too large; give it at most {max_pixels / 1_000_000:g} megapixels"
        )
    if min(width, height) < min_side:
        raise ValueError(f"{name}: {width} x {height} is too small; each side needs at least {min_side} pixels")


def upper_byte(value: Any) -> Any:
    """Return the upper 8 of 16 bits."""
    return value * (1 / 256)


def reason(error: BaseException) -> str:
    """Return why a file cannot be read, without its path, which is of no use to the sender."""
    text = str(error)
    return "unknown format" if "cannot identify" in text else text
