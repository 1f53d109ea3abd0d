"""How a predictor learns that nobody wants its answer any more, and the errors of the old command line."""


class CancelationException(BaseException):
    """Raised inside a sync `predict` that is canceled. Clean up and let it pass.

    No `Exception`, so that a predictor which catches everything does not swallow it.
    """


class CogError(Exception):
    """Never raised here; predictors may name it in an `except`."""


class ConfigDoesNotExist(CogError):
    """There is no cog.yaml."""


class PredictorNotSet(CogError):
    """cog.yaml names no predictor."""
