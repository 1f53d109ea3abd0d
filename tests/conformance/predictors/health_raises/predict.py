from cog import BasePredictor


class Predictor(BasePredictor):
    well = True

    async def healthcheck(self) -> bool:
        if not self.well:
            raise RuntimeError("the device is gone")
        return True

    async def predict(self) -> str:
        self.well = False
        return "fine"
