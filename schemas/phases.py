"""The phases a version passes through while it loads, as clients see them."""

from typing import Final

WAITING: Final = "waiting for memory"
DOWNLOADING: Final = "downloading weights"
BUILDING: Final = "building"
LOADING: Final = "loading"
TRAINING: Final = "training"  # of a worker that takes no predictions
PHASES: Final = (DOWNLOADING, BUILDING, WAITING, LOADING)
"""The phases a cold version passes through, in order."""
