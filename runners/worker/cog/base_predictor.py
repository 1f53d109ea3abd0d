"""The module that older predictors import `BasePredictor` from."""

from .predictor import BasePredictor, BaseRunner

__all__ = ["BasePredictor", "BaseRunner"]
