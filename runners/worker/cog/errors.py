"""How a predictor learns that nobody wants its answer any more."""


class CancelationException(BaseException):
    """Raised inside a sync `predict` that is canceled. Clean up and let it pass.

    No `Exception`, so that a predictor which catches everything does not swallow it.
    """
