"""A predictor with packages of its own, in place of those that are installed."""

from importlib.metadata import version

import torch
from cog import BasePredictor, Input
from roman_numerals import RomanNumeral


class Predictor(BasePredictor):
    def predict(self, number: int = Input(ge=1, le=3999)) -> dict[str, str]:
        total = int(torch.tensor([number]).sum())
        return {"roman": str(RomanNumeral(total)), "iniconfig": version("iniconfig")}
