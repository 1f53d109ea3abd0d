"""Why a version is still starting, as clients are told."""

from typing import Final

WAITING: Final = "waiting for memory"
DOWNLOADING: Final = "downloading weights"
BUILDING: Final = "building"
LOADING: Final = "loading"
TRAINING: Final = "training"  # of a worker that takes no predictions
