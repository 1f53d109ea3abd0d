from cog import BasePredictor
from cog import CancelationException as Now
from cog.exceptions import CancelationException as Older
from cog.server.exceptions import CancelationException as Oldest


class Predictor(BasePredictor):
    def predict(self) -> str:
        return f"{Now is Older is Oldest}"
