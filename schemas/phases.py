"""The phases of a version that is loading, as clients see them."""

from typing import Final

WAITING: Final = "waiting for memory"
DOWNLOADING: Final = "downloading weights"
BUILDING: Final = "building"
LOADING: Final = "loading"
TRAINING: Final = "training"  # of a worker that takes no predictions
PHASES: Final = (DOWNLOADING, BUILDING, WAITING, LOADING)
"""The phases of a cold version, in order."""
