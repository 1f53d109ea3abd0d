"""Where `BasePredictor` used to be."""

from .predictor import BasePredictor, BaseRunner

__all__ = ["BasePredictor", "BaseRunner"]
